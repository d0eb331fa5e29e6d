package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/coder/websocket"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
)

// maxFrame bounds a frame of an agent's; snapshots come in pages.
const maxFrame = 16 << 20

// clientStream is WS /api/v1/client/stream?cluster_id=: AgentService.Connect
// with one JSON message a text frame.
func (g *gateway) clientStream(w http.ResponseWriter, r *http.Request) {
	ctx, cluster, err := g.openClient(r)
	if err != nil {
		rpc.WriteError(w, err)
		return
	}
	defer g.open()()
	ws, cork, err := g.accept(w, r)
	if err != nil {
		return
	}
	ws.SetReadLimit(maxFrame)
	l, ctx := g.newLine(ctx, r, ws, cork)
	stream, err := agentv1.NewAgentServiceClient(g.Conn).Connect(ctx)
	if err != nil {
		l.end(received(err))
		l.part(context.Cause(ctx))
		return
	}
	agent := agentLine{line: l, cluster: cluster, stream: stream}
	agent.carry(ctx, agent.speak, agent.hear)
}

func (g *gateway) openClient(r *http.Request) (context.Context, uuid.UUID, error) {
	ctx, err := g.opening(r, agentv1.AgentService_Connect_FullMethodName)
	if err != nil {
		return nil, uuid.UUID{}, err
	}
	cluster, err := clusterOf(r, true)
	if err == nil {
		err = auth.Cluster(ctx, cluster.UUID)
	}
	return ctx, cluster.UUID, err
}

type agentLine struct {
	*line
	cluster uuid.UUID
	stream  grpc.BidiStreamingClient[agentv1.ConnectRequest, agentv1.ConnectResponse]
}

func (l agentLine) speak() error {
	for {
		msg, err := l.stream.Recv()
		if err != nil {
			return received(err)
		}
		frame, err := encode(everything, msg)
		if err != nil {
			return err
		}
		l.say(frame)
	}
}

// hear passes a frame on. One that cannot be understood is answered and is not
// fatal: agents and central need not be of the same age.
func (l agentLine) hear(kind websocket.MessageType, frame []byte) {
	if kind != websocket.MessageText {
		l.refuse(frame, "frames must be text")
		return
	}
	msg := &agentv1.ConnectRequest{}
	if err := (protojson.UnmarshalOptions{}).Unmarshal(frame, msg); err != nil {
		l.refuse(frame, "the message cannot be read: "+explain(err))
		return
	}
	if msg.GetKind() == nil {
		l.refuse(frame, "the message says nothing: it needs one of the kinds of ConnectRequest")
		return
	}
	if hello := msg.GetHello(); hello != nil && !strings.EqualFold(hello.GetClusterId(), l.cluster.String()) {
		l.end(fault.Invalid("cluster_id", "must equal cluster_id of the query"))
		return
	}
	_ = l.stream.Send(msg) // if it fails, Recv says why
}

// refuse answers in the place of central, which never saw the message. Its
// sequence is 0, for central does the counting.
func (l agentLine) refuse(frame []byte, why string) {
	answer, err := encode(everything, &agentv1.ConnectResponse{Kind: &agentv1.ConnectResponse_Unsupported{
		Unsupported: &agentv1.Unsupported{Sequence: sequenceOf(frame), Reason: why},
	}})
	if err == nil {
		l.say(answer)
	}
}

// sequenceOf is the sequence of a message that is otherwise unreadable, 0 if
// even that is.
func sequenceOf(frame []byte) int64 {
	var head struct {
		Sequence json.RawMessage `json:"sequence"`
	}
	if json.Unmarshal(frame, &head) != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.Trim(string(head.Sequence), `"`), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
