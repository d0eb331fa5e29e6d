package gateway

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
)

// patience is how long a dashboard may take none of the frames that wait for it. The
// stream itself finds those who read, but too slowly.
const patience = 5 * time.Second

// adminStream is WS /api/v1/admin/stream?cluster_id=&types=&after_sequence=. The
// stream's first message is waited for, so that whatever is wrong is answered with
// a status code.
func (g *gateway) adminStream(w http.ResponseWriter, r *http.Request) {
	hold, cancel := context.WithCancel(r.Context())
	defer cancel()
	ctx, stream, first, err := g.openAdmin(r.WithContext(hold))
	if err != nil {
		rpc.WriteError(w, err)
		return
	}
	defer g.open()()
	ws, cork, err := g.accept(w, r)
	if err != nil {
		return
	}
	ws.SetReadLimit(4 << 10)
	l, ctx := g.newLine(ctx, r, ws, cork)
	l.words = farewell
	// The stream was opened before the line, so the line's end must end it.
	defer context.AfterFunc(ctx, cancel)()
	l.carry(ctx, func() error {
		for msg := first; ; {
			if !l.wait(ctx, msg.json, patience) {
				return nil // the line has ended
			}
			l.parted.Store(msg.last)
			msg = &frame{}
			if err := stream.RecvMsg(msg); err != nil {
				return received(err)
			}
		}
	}, func(websocket.MessageType, []byte) {
		l.end(fault.Malformed("this stream takes no messages"))
	})
}

// farewell is the last message of a dashboard's stream that ends here and not in
// AdminService: a bye for what dashboards know how to go on from, else the error.
func farewell(known *fault.Error) []byte {
	reason := ""
	switch known.Reason { //nolint:exhaustive // the others are errors
	case faultv1.Reason_REASON_UNAUTHENTICATED, faultv1.Reason_REASON_PERMISSION_DENIED:
		reason = "signed_out"
	case faultv1.Reason_REASON_RATE_LIMITED:
		reason = "slow_reader"
	case faultv1.Reason_REASON_UNAVAILABLE:
		reason = "draining"
	default:
		return lastWords(known)
	}
	last, err := encode(present, &adminv1.StreamResponse{Type: "bye", Message: reason, Timestamp: timestamppb.Now()})
	if err != nil {
		return lastWords(known)
	}
	return last
}

func (g *gateway) openAdmin(r *http.Request) (context.Context, grpc.ClientStream, *frame, error) {
	ctx, err := g.opening(r, adminv1.AdminService_Stream_FullMethodName)
	if err != nil {
		return nil, nil, nil, err
	}
	req, err := streamRequest(r.URL.Query())
	if err != nil {
		return nil, nil, nil, err
	}
	stream, err := g.Conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, adminv1.AdminService_Stream_FullMethodName, grpc.ForceCodecV2(g.frames))
	if err == nil {
		err = stream.SendMsg(req)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err != nil {
		return nil, nil, nil, err
	}
	first := &frame{}
	err = stream.RecvMsg(first)
	return ctx, stream, first, err
}

// streamRequest reads the query. What it does not know it refuses: a dashboard that
// misspells after_sequence would miss messages and not know.
func streamRequest(query url.Values) (*adminv1.StreamRequest, error) {
	req := &adminv1.StreamRequest{}
	for name, values := range query {
		switch name {
		case "cluster_id":
			req.ClusterId = values[0]
		case "types":
			for _, value := range values {
				req.Types = append(req.Types, strings.Split(value, ",")...)
			}
			continue
		case "after_sequence":
			n, err := strconv.ParseInt(values[0], 10, 64)
			if err != nil {
				return nil, fault.Invalid("after_sequence", "must be a sequence that the stream told")
			}
			req.AfterSequence = &n
		default:
			return nil, fault.Malformed("the stream has no parameter %q: it has cluster_id, types and after_sequence", name)
		}
		if len(values) > 1 {
			return nil, fault.Invalid(name, "must be given once")
		}
	}
	return req, nil
}
