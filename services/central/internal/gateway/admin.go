package gateway

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
	"google.golang.org/grpc"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

// adminStream is WS /api/v1/admin/stream?cluster_id=. The stream's first message
// is waited for, so that whatever is wrong is answered with a status code.
func (g *gateway) adminStream(w http.ResponseWriter, r *http.Request) {
	hold, cancel := context.WithCancel(r.Context())
	defer cancel()
	ctx, stream, first, err := g.openAdmin(r.WithContext(hold))
	if err != nil {
		rpc.WriteError(w, err)
		return
	}
	ws, err := g.accept(w, r)
	if err != nil {
		return
	}
	ws.SetReadLimit(4 << 10)
	l, ctx := g.newLine(ctx, r, ws)
	// The stream was opened before the line, so the line's end must end it.
	defer context.AfterFunc(ctx, cancel)()
	l.carry(ctx, func() error {
		for msg := first; ; {
			frame, err := encode(present, msg)
			if err != nil {
				return err
			}
			l.say(frame)
			if msg, err = stream.Recv(); err != nil {
				return received(err)
			}
		}
	}, func(websocket.MessageType, []byte) {
		l.end(fault.Malformed("this stream takes no messages"))
	})
}

func (g *gateway) openAdmin(r *http.Request) (context.Context, grpc.ServerStreamingClient[adminv1.StreamResponse], *adminv1.StreamResponse, error) {
	ctx, err := g.opening(r, adminv1.AdminService_Stream_FullMethodName)
	if err != nil {
		return nil, nil, nil, err
	}
	cluster, err := clusterOf(r, false)
	if err != nil {
		return nil, nil, nil, err
	}
	req := &adminv1.StreamRequest{}
	if cluster.Valid {
		req.ClusterId = cluster.UUID.String()
	}
	stream, err := adminv1.NewAdminServiceClient(g.Conn).Stream(ctx, req)
	if err != nil {
		return nil, nil, nil, err
	}
	first, err := stream.Recv()
	return ctx, stream, first, err
}
