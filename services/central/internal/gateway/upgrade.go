package gateway

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

const (
	// protocol is what both sides speak once the WebSocket is open.
	protocol = "cloudoptim.v1"
	// bearerProtocol carries the key of a browser, which can set no header. The
	// URL never does: it ends up in logs.
	bearerProtocol = "cloudoptim.bearer."
)

// opening checks what can be checked before the WebSocket is opened, while a
// status code can still be sent, and returns the context of the stream to come.
func (g *gateway) opening(r *http.Request, method string) (context.Context, error) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return nil, fault.Malformed("this path speaks WebSocket")
	}
	if err := g.checkOrigin(r); err != nil {
		return nil, err
	}
	ctx, err := g.Authorizer.Authorize(r.Context(), method, policyOf(method), bearer(r))
	if err != nil {
		return nil, err
	}
	return outgoing(ctx, r), nil
}

// outgoing is the context of the stream that carries a request: its key, id and trace.
func outgoing(ctx context.Context, r *http.Request) context.Context {
	pairs := []string{"authorization", "Bearer " + bearer(r), "x-request-id", r.Header.Get("X-Request-Id")}
	for _, header := range []string{"traceparent", "tracestate"} {
		if value := r.Header.Get(header); value != "" {
			pairs = append(pairs, header, value)
		}
	}
	return metadata.NewOutgoingContext(ctx, metadata.Pairs(pairs...))
}

// checkOrigin keeps pages of other sites out: a browser would send them in with
// whatever it holds.
func (g *gateway) checkOrigin(r *http.Request) error {
	header := r.Header.Get("Origin")
	if header == "" {
		return nil
	}
	origin, err := url.Parse(header)
	if err != nil {
		return fault.Malformed("the origin cannot be read")
	}
	if strings.EqualFold(origin.Host, r.Host) {
		return nil
	}
	for _, pattern := range g.Origins {
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(origin.Host)); err == nil && ok {
			return nil
		}
	}
	return fault.New(faultv1.Reason_REASON_PERMISSION_DENIED, "Insufficient permissions: pages of this origin may not open a stream").
		With("origin", header)
}

// accept opens the WebSocket. Whatever is wrong by then is answered by the library.
func (g *gateway) accept(w http.ResponseWriter, r *http.Request) (*websocket.Conn, *cork, error) {
	options := &websocket.AcceptOptions{OriginPatterns: g.Origins}
	for _, offered := range protocols(r) {
		// A browser gives up unless one of those it offers is taken; the one
		// with the key is sent back only if it is alone.
		if offered == protocol {
			options.Subprotocols = []string{protocol}
			break
		}
		if strings.HasPrefix(offered, bearerProtocol) {
			options.Subprotocols = []string{offered}
		}
	}
	wrapped := &corked{ResponseWriter: w}
	ws, err := websocket.Accept(wrapped, r, options)
	return ws, wrapped.cork, err
}

// bearer is the key of a request for a WebSocket, "" if there is none.
func bearer(r *http.Request) string {
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") {
		return strings.TrimSpace(token)
	}
	for _, offered := range protocols(r) {
		if token, ok := strings.CutPrefix(offered, bearerProtocol); ok {
			return token
		}
	}
	return ""
}

func protocols(r *http.Request) []string {
	var all []string
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for offered := range strings.SplitSeq(header, ",") {
			all = append(all, strings.TrimSpace(offered))
		}
	}
	return all
}

// clusterOf is the query's cluster_id; required, it must be there.
func clusterOf(r *http.Request, required bool) (uuid.NullUUID, error) {
	value := r.URL.Query().Get("cluster_id")
	if value == "" && !required {
		return uuid.NullUUID{}, nil
	}
	id, err := uuid.Parse(value)
	if err != nil {
		return uuid.NullUUID{}, fault.Invalid("cluster_id", "must be valid UUID")
	}
	return uuid.NullUUID{UUID: id, Valid: true}, nil
}

// policyOf is what the contract says of a method; nil, which lets nobody in, when it is silent.
func policyOf(method string) *accessv1.Policy {
	name := strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	if err != nil {
		return nil
	}
	policy, _ := proto.GetExtension(found.Options(), accessv1.E_Policy).(*accessv1.Policy)
	return policy
}
