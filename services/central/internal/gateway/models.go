package gateway

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"time"

	"google.golang.org/grpc"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

const (
	// uploadWithin bounds an upload; the usual timeout is for calls with small bodies.
	uploadWithin = 10 * time.Minute
	// chunkBytes is how much of an upload goes on in one message.
	chunkBytes = 256 << 10
	// maxField bounds a form's text field.
	maxField = 1 << 10
)

// accepted are the kinds of bodies that an upload may have.
var accepted = []any{"multipart/form-data", "application/octet-stream"}

// uploadModel is POST /api/v1/admin/models/upload: AdminService.UploadModel with
// the file as a form's file, or as the body. The generated handler would want the
// stream's messages as JSON, which no tool sends by itself.
func (g *gateway) uploadModel(w http.ResponseWriter, r *http.Request) {
	guarded(w)
	// Whoever may not upload is told before the body is read.
	if _, err := g.Authorizer.Authorize(r.Context(), adminv1.AdminService_UploadModel_FullMethodName,
		policyOf(adminv1.AdminService_UploadModel_FullMethodName), bearer(r)); err != nil {
		rpc.WriteError(w, err)
		return
	}
	file, body, err := g.openUpload(r)
	if err != nil {
		rpc.WriteError(w, err)
		return
	}
	deadline := time.Now().Add(uploadWithin)
	_ = http.NewResponseController(w).SetReadDeadline(deadline) // a body that stops coming ends too
	ctx, cancel := context.WithDeadline(r.Context(), deadline)
	defer cancel()
	resp, status, err := g.send(outgoing(ctx, r), file, body)
	if err != nil {
		rpc.WriteError(w, err)
		return
	}
	answer, err := encode(everything, resp)
	if err != nil {
		rpc.WriteError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(answer) //nolint:gosec // JSON, and said to be nothing else
}

// openUpload reads what comes before the bytes.
func (g *gateway) openUpload(r *http.Request) (*adminv1.ModelFile, io.Reader, error) {
	if g.MaxUploadBytes > 0 && r.ContentLength > int64(g.MaxUploadBytes)+4*maxField {
		return nil, nil, tooLarge(g.MaxUploadBytes)
	}
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	query := r.URL.Query()
	file := &adminv1.ModelFile{Name: query.Get("name"), Format: query.Get("format"), Sha256: query.Get("sha256")}
	switch media {
	case "application/octet-stream":
		return file, r.Body, nil
	case "multipart/form-data":
		form, err := r.MultipartReader()
		if err != nil {
			return nil, nil, fault.Malformed("the form cannot be read: %s", err)
		}
		body, err := formFields(form, file)
		return file, body, err
	}
	return nil, nil, fault.New(faultv1.Reason_REASON_UNSUPPORTED_MEDIA_TYPE,
		"send the file as multipart/form-data with the fields name, format, sha256 and, last, file; or as application/octet-stream").With("accepted", accepted)
}

// formFields reads a form up to its file, which must come last.
func formFields(form *multipart.Reader, file *adminv1.ModelFile) (io.Reader, error) {
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, fault.Invalid("file", "must be a field of the form")
		}
		if err != nil {
			return nil, unread(err)
		}
		if part.FormName() == "file" {
			return &lastPart{form: form, part: part}, nil
		}
		text, err := io.ReadAll(io.LimitReader(part, maxField))
		if err != nil {
			return nil, unread(err)
		}
		switch part.FormName() {
		case "name":
			file.Name = string(text)
		case "format":
			file.Format = string(text)
		case "sha256":
			file.Sha256 = string(text)
		default:
			return nil, fault.Malformed("the form has an unknown field %q", part.FormName())
		}
	}
}

// lastPart reads a part, and fails if another follows: a field after the file would
// be ignored.
type lastPart struct {
	form *multipart.Reader
	part *multipart.Part
}

func (l *lastPart) Read(into []byte) (int, error) {
	n, err := l.part.Read(into)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	switch _, next := l.form.NextPart(); {
	case errors.Is(next, io.EOF):
		return n, io.EOF
	case next != nil:
		return n, next
	}
	return n, fault.Malformed("the file must be the form's last field")
}

// send the file on. The stream is cancelled, and nothing kept, unless the body
// comes to its end.
func (g *gateway) send(ctx context.Context, file *adminv1.ModelFile, body io.Reader) (*adminv1.UploadModelResponse, int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := adminv1.NewAdminServiceClient(g.Conn).UploadModel(ctx)
	if err != nil {
		return nil, 0, err
	}
	err = stream.Send(&adminv1.UploadModelRequest{Part: &adminv1.UploadModelRequest_File{File: file}})
	if err == nil {
		err = pour(stream, body)
	}
	if err != nil && !errors.Is(err, io.EOF) { // io.EOF: central answered already
		return nil, 0, err
	}
	resp, err := stream.CloseAndRecv()
	if err != nil {
		return nil, 0, received(err)
	}
	head, err := stream.Header()
	return resp, rpc.HTTPStatus(head), err
}

// pour the body into the stream, until its end.
func pour(stream grpc.ClientStreamingClient[adminv1.UploadModelRequest, adminv1.UploadModelResponse], body io.Reader) error {
	for {
		chunk, end := fill(body)
		if len(chunk) > 0 {
			if err := stream.Send(&adminv1.UploadModelRequest{Part: &adminv1.UploadModelRequest_Chunk{Chunk: chunk}}); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(end, io.EOF):
			return nil
		case end != nil:
			return unread(end)
		}
	}
}

// fill a chunk, in memory of its own: gRPC may still look at a message that was sent.
func fill(body io.Reader) (chunk []byte, end error) {
	chunk = make([]byte, chunkBytes)
	filled := 0
	for filled < len(chunk) && end == nil {
		var n int
		n, end = body.Read(chunk[filled:])
		filled += n
	}
	return chunk[:filled], end
}

// unread is a body that cannot be read to its end.
func unread(err error) error {
	var known *fault.Error
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &known):
		return err
	case errors.As(err, &large):
		return tooLarge(int(large.Limit))
	}
	return fault.Malformed("the body ends early or cannot be read").Because(err)
}

func tooLarge(limit int) error {
	return fault.New(faultv1.Reason_REASON_TOO_LARGE, "the upload is larger than %d bytes", limit).With("max_bytes", float64(limit))
}
