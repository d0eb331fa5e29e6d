package admin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"

	"google.golang.org/grpc"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

const (
	// maxUploads at once: each is held in memory until it is checked.
	maxUploads = 4
	// chunkBytes is how much of a model goes to ml in one message.
	chunkBytes = 256 << 10
)

type upload = grpc.ClientStreamingServer[adminv1.UploadModelRequest, adminv1.UploadModelResponse]

// UploadModel keeps a model that ml has checked. Central holds the bytes and
// compares their checksum; it never looks inside.
func (s *Server) UploadModel(stream upload) error {
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	default:
		return fault.New(faultv1.Reason_REASON_RATE_LIMITED, "%d models are being uploaded already, try again", maxUploads).
			With("retry_after_seconds", 10.0)
	}
	file, content, err := s.receive(stream)
	if err != nil {
		return err
	}
	ctx := stream.Context()
	checked, err := s.check(ctx, file.GetFormat(), file.GetSha256(), content)
	if err != nil {
		return err
	}
	resp := &adminv1.UploadModelResponse{Findings: checked.GetFindings()}
	status := http.StatusOK
	err = s.Store.InTx(ctx, func(tx *store.Store) error {
		model, created, err := tx.AddModel(ctx, store.NewModel{
			Name: file.GetName(), Format: file.GetFormat(), SHA256: file.GetSha256(), Content: content, Checked: checked,
			By: auth.From(ctx).Actor(),
		})
		resp.Model, resp.ModelVersion = model, model.GetModelVersion()
		if err != nil || !created {
			return err
		}
		status = http.StatusCreated
		return tx.Audit(ctx, store.Act{
			Actor: auth.From(ctx).Actor(), Action: "model.upload", Subject: model.GetModelVersion(),
			Detail: map[string]any{"name": file.GetName(), "format": file.GetFormat(), "sha256": file.GetSha256(), "size_bytes": len(content)},
		})
	})
	if err != nil {
		return err
	}
	if err := rpc.SetHTTPStatus(ctx, status); err != nil {
		return err
	}
	return stream.SendAndClose(resp)
}

// receive the whole file, or say what is wrong with it. A stream that breaks off
// ends here with its error.
func (s *Server) receive(stream upload) (*adminv1.ModelFile, []byte, error) {
	file, err := receiveHead(stream)
	if err != nil {
		return nil, nil, err
	}
	var content []byte
	for {
		chunk, err := receiveChunk(stream)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		if len(content)+len(chunk) > s.MaxModelBytes {
			return nil, nil, fault.New(faultv1.Reason_REASON_TOO_LARGE, "the model is larger than %d bytes", s.MaxModelBytes).
				With("max_bytes", float64(s.MaxModelBytes))
		}
		content = append(content, chunk...)
	}
	if len(content) == 0 {
		return nil, nil, fault.Invalid("chunk", "the model must have bytes")
	}
	sum := sha256.Sum256(content)
	if got := hex.EncodeToString(sum[:]); got != file.GetSha256() {
		return nil, nil, fault.Invalid("sha256", "must be that of the bytes: were some lost or changed?").
			With("received_sha256", got).With("received_bytes", float64(len(content)))
	}
	return file, content, nil
}

// receiveHead is the first message, which says what comes.
func receiveHead(stream upload) (*adminv1.ModelFile, error) {
	first, err := stream.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if first.GetFile() == nil {
		return nil, fault.Invalid("file", "must be sent first")
	}
	return first.GetFile(), rpc.Validate(first.GetFile())
}

func receiveChunk(stream upload) ([]byte, error) {
	msg, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	if msg.GetFile() != nil {
		return nil, fault.Invalid("file", "must be sent once")
	}
	return msg.GetChunk(), rpc.Validate(msg)
}

// check lets ml read a file.
func (s *Server) check(ctx context.Context, format, sum string, content []byte) (*mlv1.CheckModelResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.MLTimeout)
	defer cancel()
	stream, err := mlv1.NewModelServiceClient(s.ML).CheckModel(ctx)
	if err != nil {
		return nil, fromML(err)
	}
	head := &mlv1.CheckModelRequest{Part: &mlv1.CheckModelRequest_File{File: &mlv1.CheckModelFile{Format: format, Sha256: sum}}}
	err = stream.Send(head)
	for part := range slices.Chunk(content, chunkBytes) {
		if err != nil { // ml answered already: CloseAndRecv says what
			break
		}
		err = stream.Send(&mlv1.CheckModelRequest{Part: &mlv1.CheckModelRequest_Chunk{Chunk: part}})
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fromML(err)
	}
	checked, err := stream.CloseAndRecv()
	return checked, fromML(err)
}
