package rpc

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// MaxBodyBytes bounds a REST body.
const MaxBodyBytes = 64 << 20

const (
	statusKey   = "x-http-status"
	nextPageKey = "x-next-page-token"
)

// JSON is how REST writes and reads messages: documented names, every field
// present, unknown fields refused.
var JSON = runtime.JSONPb{
	MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true},
	UnmarshalOptions: protojson.UnmarshalOptions{DiscardUnknown: false},
}

// NewMux makes the REST front of a server; register the generated handlers on it. What before
// does with an answer, it does before the answer's status is written.
func NewMux(before ...func(context.Context, http.ResponseWriter, proto.Message) error) *runtime.ServeMux {
	var options []runtime.ServeMuxOption
	for _, do := range before {
		options = append(options, runtime.WithForwardResponseOption(do))
	}
	return runtime.NewServeMux(append(options,
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &JSON),
		runtime.WithErrorHandler(handleError),
		runtime.WithRoutingErrorHandler(handleRouting),
		runtime.WithForwardResponseOption(forwardStatus),
		runtime.WithIncomingHeaderMatcher(incoming),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
	)...)
}

// SetHTTPStatus makes REST answer this call with code instead of 200.
func SetHTTPStatus(ctx context.Context, code int) error {
	return grpc.SetHeader(ctx, metadata.Pairs(statusKey, strconv.Itoa(code)))
}

// SetNextPage tells REST, whose lists are bare arrays, where the next page begins: in
// header Next-Page-Token. An empty token is the last page.
func SetNextPage(ctx context.Context, token string) error {
	if token == "" {
		return nil
	}
	return grpc.SetHeader(ctx, metadata.Pairs(nextPageKey, token))
}

// HTTPStatus is what SetHTTPStatus asked for in a call's header, or else 200.
func HTTPStatus(header metadata.MD) int {
	for _, text := range header.Get(statusKey) {
		if code, err := strconv.Atoi(text); err == nil {
			return code
		}
	}
	return http.StatusOK
}

// Front names every request, bounds its body, and hands it to next.
func Front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !goodRequestID.MatchString(id) {
			id = NewRequestID()
			r.Header.Set("X-Request-Id", id)
		}
		w.Header().Set("X-Request-Id", id)
		r.Header.Set(ClientAddressHeader, hostOf(r.RemoteAddr)) // whatever the client says it is
		r.Body = http.MaxBytesReader(w, r.Body, MaxBodyBytes)
		next.ServeHTTP(w, r)
	})
}

// WriteError answers with the documented error body.
func WriteError(w http.ResponseWriter, err error) {
	known := *fault.From(err)
	if known.RequestID == "" {
		known.RequestID = w.Header().Get("X-Request-Id")
	}
	w.Header().Set("Content-Type", "application/json")
	if seconds, ok := known.Details["retry_after_seconds"].(float64); ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	if known.Reason == faultv1.Reason_REASON_UNAUTHENTICATED {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(fault.HTTPStatus(known.Reason))
	body, err := JSON.Marshal(&faultv1.ErrorBody{Error: known.Proto()})
	if err != nil {
		return
	}
	_, _ = w.Write(body)
}

func handleError(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
	WriteError(w, plain(err))
}

// plain rewrites the gateway's own complaints, which have no details of ours,
// as malformed requests in words without its internals.
func plain(err error) error {
	st, ok := status.FromError(err)
	if !ok || len(st.Details()) > 0 {
		return err
	}
	known := fault.From(err)
	if known.Reason != faultv1.Reason_REASON_MALFORMED_REQUEST {
		return err
	}
	text := st.Message()
	if strings.Contains(text, "request body too large") {
		return fault.Malformed("the body is larger than %d bytes", MaxBodyBytes)
	}
	text = strings.ReplaceAll(text, "\u00a0", " ") // protojson's deliberately unstable spaces
	text = strings.TrimPrefix(text, "proto: ")
	if text == "" || text == "EOF" {
		text = "a JSON body is needed"
	}
	return fault.Malformed("the request cannot be read: %s", text)
}

func handleRouting(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, r *http.Request, code int) {
	switch code {
	case http.StatusNotFound:
		WriteError(w, fault.NotFound("path", r.URL.Path))
	case http.StatusMethodNotAllowed:
		// The guide has no 405: a path with another method is not there.
		WriteError(w, fault.NotFound("path", r.Method+" "+r.URL.Path))
	default:
		WriteError(w, fault.Malformed("the request path cannot be read"))
	}
}

func forwardStatus(ctx context.Context, w http.ResponseWriter, _ proto.Message) error {
	md, ok := runtime.ServerMetadataFromContext(ctx)
	if !ok {
		return nil
	}
	if token := md.HeaderMD.Get(nextPageKey); len(token) > 0 {
		w.Header().Set("Next-Page-Token", token[0])
	}
	if codes := md.HeaderMD.Get(statusKey); len(codes) > 0 {
		code, err := strconv.Atoi(codes[0])
		if err != nil {
			return err
		}
		w.WriteHeader(code)
	}
	return nil
}

func incoming(header string) (string, bool) {
	switch http.CanonicalHeaderKey(header) {
	case "X-Request-Id":
		return requestIDKey, true
	case ClientAddressHeader:
		return clientAddressKey, true
	case "Traceparent", "Tracestate":
		return strings.ToLower(header), true
	}
	return "", false // Authorization is passed on by the gateway itself
}

// ServeJSON serves a fixed JSON document, such as an OpenAPI description.
func ServeJSON(doc []byte) http.HandlerFunc {
	valid := json.Valid(doc)
	return func(w http.ResponseWriter, _ *http.Request) {
		if !valid {
			WriteError(w, fault.New(faultv1.Reason_REASON_INTERNAL, "internal error"))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(doc)
	}
}
