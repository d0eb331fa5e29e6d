package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

type adminFeed = grpc.ServerStreamingServer[adminv1.StreamResponse]

type agentFeed = grpc.BidiStreamingServer[agentv1.ConnectRequest, agentv1.ConnectResponse]

// dial opens a WebSocket as its key's program would.
func (h *house) dial(t *testing.T, path, key string) *websocket.Conn {
	t.Helper()
	ws, resp, err := websocket.Dial(t.Context(), h.url+path, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + key}},
	})
	if err != nil {
		t.Fatalf("opening %s: %v (%v)", path, err, resp)
	}
	ws.SetReadLimit(1 << 20)
	t.Cleanup(func() { _ = ws.CloseNow() })
	return ws
}

func read(t *testing.T, ws *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	kind, frame, err := ws.Read(ctx)
	if err != nil || kind != websocket.MessageText {
		t.Fatalf("reading a frame: %v %v", kind, err)
	}
	return string(frame)
}

func write(t *testing.T, ws *websocket.Conn, frame string) {
	t.Helper()
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		t.Fatal(err)
	}
}

// requireClosed reads on until the close frame.
func requireClosed(t *testing.T, ws *websocket.Conn, want websocket.StatusCode) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	last := ""
	for {
		_, frame, err := ws.Read(ctx)
		if err != nil {
			if got := websocket.CloseStatus(err); got != want {
				t.Fatalf("closed with %v (%v), want %v", got, err, want)
			}
			return last
		}
		last = string(frame)
	}
}

// requireBye checks the last message of a dashboard's stream.
func requireBye(t *testing.T, last, reason string) {
	t.Helper()
	if bye := fields(t, last); bye["type"] != "bye" || bye["message"] != reason || bye["timestamp"] == "" {
		t.Errorf("the last frame is %s, want a bye: %s", last, reason)
	}
}

func stay(_ *adminv1.StreamRequest, s adminFeed) error {
	if err := s.Send(&adminv1.StreamResponse{Type: "heartbeat"}); err != nil {
		return err
	}
	<-s.Context().Done()
	return context.Cause(s.Context())
}

func TestTheDashboardGetsWhatTheGuideShows(t *testing.T) {
	h := open(t)
	at := timestamppb.New(time.Date(2025, 11, 28, 10, 0, 0, 0, time.UTC))
	h.admin.stream = func(req *adminv1.StreamRequest, s adminFeed) error {
		return s.Send(&adminv1.StreamResponse{
			Type: "optimization_complete", Savings: proto.Float64(800), Status: "success", ClusterId: req.GetClusterId(), Timestamp: at,
		})
	}
	ws := h.dial(t, "/api/v1/admin/stream?cluster_id="+h.cluster.String(), "viewer")
	want := `{"type":"optimization_complete","savings":800,"status":"success","cluster_id":"` + h.cluster.String() + `","timestamp":"2025-11-28T10:00:00Z"}`
	if got := read(t, ws); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	requireClosed(t, ws, websocket.StatusNormalClosure)
}

func TestWhatIsWrongBeforeTheStreamIsAnsweredWithAStatus(t *testing.T) {
	h := open(t)
	h.admin.stream = func(req *adminv1.StreamRequest, s adminFeed) error {
		if req.GetClusterId() != "" {
			return fault.NotFound("cluster", req.GetClusterId())
		}
		return stay(req, s)
	}
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}
	adminPath, clientPath := "/api/v1/admin/stream", "/api/v1/client/stream?cluster_id="
	cases := map[string]struct {
		path    string
		headers []string
		status  int
		code    string
	}{
		"no key":                         {adminPath, upgrade, 401, "UNAUTHENTICATED"},
		"a key in the URL":               {adminPath + "?token=viewer&access_token=viewer", upgrade, 401, "UNAUTHENTICATED"},
		"an unknown key":                 {adminPath, append([]string{"Authorization", "Bearer x"}, upgrade...), 401, "UNAUTHENTICATED"},
		"an agent at the dashboard":      {adminPath, append([]string{"Authorization", "Bearer agent"}, upgrade...), 403, "PERMISSION_DENIED"},
		"a cluster that is not there":    {adminPath + "?cluster_id=" + uuid.NewString(), append([]string{"Authorization", "Bearer viewer"}, upgrade...), 404, "NOT_FOUND"},
		"a cluster_id that is no UUID":   {adminPath + "?cluster_id=cluster-123", append([]string{"Authorization", "Bearer viewer"}, upgrade...), 422, "INVALID_REQUEST"},
		"two clusters":                   {adminPath + "?cluster_id=" + uuid.NewString() + "&cluster_id=" + uuid.NewString(), append([]string{"Authorization", "Bearer viewer"}, upgrade...), 422, "INVALID_REQUEST"},
		"a sequence that is no number":   {adminPath + "?after_sequence=last", append([]string{"Authorization", "Bearer viewer"}, upgrade...), 422, "INVALID_REQUEST"},
		"an empty sequence":              {adminPath + "?after_sequence=", append([]string{"Authorization", "Bearer viewer"}, upgrade...), 422, "INVALID_REQUEST"},
		"a sequence below zero":          {adminPath + "?after_sequence=-1", append([]string{"Authorization", "Bearer viewer"}, upgrade...), 422, "INVALID_REQUEST"},
		"a type that cannot be":          {adminPath + "?types=spot_event,No%20Type", append([]string{"Authorization", "Bearer viewer"}, upgrade...), 422, "INVALID_REQUEST"},
		"a parameter that is not there":  {adminPath + "?after=7", append([]string{"Authorization", "Bearer viewer"}, upgrade...), 400, "MALFORMED_REQUEST"},
		"a page of another site":         {adminPath, append([]string{"Authorization", "Bearer viewer", "Origin", "https://evil.test"}, upgrade...), 403, "PERMISSION_DENIED"},
		"a page without an origin":       {adminPath, append([]string{"Authorization", "Bearer viewer", "Origin", "null"}, upgrade...), 403, "PERMISSION_DENIED"},
		"no WebSocket":                   {adminPath, []string{"Authorization", "Bearer viewer"}, 400, "MALFORMED_REQUEST"},
		"an agent without a cluster":     {clientPath, append([]string{"Authorization", "Bearer agent"}, upgrade...), 422, "INVALID_REQUEST"},
		"an agent of another cluster":    {clientPath + uuid.NewString(), append([]string{"Authorization", "Bearer agent"}, upgrade...), 403, "PERMISSION_DENIED"},
		"a viewer in an agent's clothes": {clientPath + h.cluster.String(), append([]string{"Authorization", "Bearer viewer"}, upgrade...), 403, "PERMISSION_DENIED"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			status, _, body := h.get(t, c.path, c.headers...)
			if code, _ := requireErrorBody(t, body); status != c.status || code != c.code {
				t.Errorf("%d %s, want %d %s", status, code, c.status, c.code)
			}
		})
	}
}

func TestTheQueryReachesTheStream(t *testing.T) {
	h := open(t)
	asked := make(chan *adminv1.StreamRequest, 1)
	h.admin.stream = func(req *adminv1.StreamRequest, s adminFeed) error {
		asked <- req
		return stay(req, s)
	}
	h.dial(t, "/api/v1/admin/stream?after_sequence=0&types=spot_event,stop&types=policy&cluster_id="+h.cluster.String(), "viewer")
	want := &adminv1.StreamRequest{ClusterId: h.cluster.String(), AfterSequence: proto.Int64(0), Types: []string{"spot_event", "stop", "policy"}}
	if diff := cmp.Diff(want, <-asked, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}

func TestABurstLargerThanTheQueueReachesAReaderWhoReads(t *testing.T) {
	h := open(t)
	const many = 20 * waiting
	h.admin.stream = func(_ *adminv1.StreamRequest, s adminFeed) error {
		for n := range int64(many) {
			if err := s.Send(&adminv1.StreamResponse{Type: "stop", Sequence: n + 1, Message: strings.Repeat("x", 2<<10)}); err != nil {
				return err
			}
		}
		return s.Send(&adminv1.StreamResponse{Type: "bye", Message: "age"})
	}
	ws := h.dial(t, "/api/v1/admin/stream", "viewer")
	for n := range many {
		if got := fields(t, read(t, ws))["sequence"]; got != fmt.Sprint(n+1) {
			t.Fatalf("got %v, want %d", got, n+1)
		}
	}
	requireBye(t, requireClosed(t, ws, websocket.StatusNormalClosure), "age")
}

func TestAByeOfTheStreamIsTheLastFrameAndTheCloseCodeIsThatOfItsError(t *testing.T) {
	h := open(t)
	h.admin.stream = func(_ *adminv1.StreamRequest, s adminFeed) error {
		if err := s.Send(&adminv1.StreamResponse{Type: "bye", Message: "slow_reader", Timestamp: timestamppb.Now()}); err != nil {
			return err
		}
		return fault.New(faultv1.Reason_REASON_RATE_LIMITED, "slow reader")
	}
	ws := h.dial(t, "/api/v1/admin/stream", "viewer")
	requireBye(t, requireClosed(t, ws, 4429), "slow_reader")
}

// TestTheLastWordsAreSentWhoeverSaysThem: the stream may queue its own in the middle of the line's parting.
func TestTheLastWordsAreSentWhoeverSaysThem(t *testing.T) {
	t.Parallel()
	bye := farewell(fault.Unavailable("central", nil))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		l := &line{ws: ws, cork: &cork{}, out: make(chan []byte, 1), words: farewell}
		after := time.Now().Add(rand.N(20 * time.Microsecond))
		go func() {
			for time.Now().Before(after) { // a timer would be too coarse
				runtime.Gosched()
			}
			l.out <- bye
			l.parted.Store(true)
		}()
		l.part(fault.Unavailable("central", nil))
	}))
	defer server.Close()
	for range 6000 {
		ws, _, err := websocket.Dial(t.Context(), server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, frame, err := ws.Read(t.Context()); err != nil || !strings.Contains(string(frame), "draining") {
			t.Fatalf("the last words are %s (%v)", frame, err)
		}
		_ = ws.CloseNow()
	}
}

func TestABrowserSendsItsKeyAsAProtocol(t *testing.T) {
	h := open(t)
	h.admin.stream = stay
	for _, c := range []struct {
		offered []string
		origin  string
		taken   string
	}{
		{[]string{"cloudoptim.v1", "cloudoptim.bearer.viewer"}, h.url, "cloudoptim.v1"},
		{[]string{"cloudoptim.bearer.viewer", "cloudoptim.v1"}, "https://ui.example.com", "cloudoptim.v1"},
		{[]string{"cloudoptim.bearer.viewer"}, h.url, "cloudoptim.bearer.viewer"},
	} {
		ws, _, err := websocket.Dial(t.Context(), h.url+"/api/v1/admin/stream", &websocket.DialOptions{
			Subprotocols: c.offered, HTTPHeader: http.Header{"Origin": {c.origin}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, ws); got != `{"type":"heartbeat"}` || ws.Subprotocol() != c.taken {
			t.Errorf("%v: %s over %q, want %q", c.offered, got, ws.Subprotocol(), c.taken)
		}
		_ = ws.Close(websocket.StatusNormalClosure, "")
	}
}

// echo answers hello with welcome, heartbeats with their sequence, and ends at a metrics report.
func echo(s agentFeed) error {
	for n := int64(1); ; n++ {
		msg, err := s.Recv()
		if err != nil {
			return err
		}
		resp := &agentv1.ConnectResponse{Sequence: n}
		switch {
		case msg.GetHello() != nil:
			resp.Kind = &agentv1.ConnectResponse_Welcome{Welcome: &agentv1.Welcome{SessionEpoch: 7}}
		case msg.GetMetrics() != nil:
			return fault.New(faultv1.Reason_REASON_SUPERSEDED, "a newer session has taken over")
		default:
			resp.Kind = &agentv1.ConnectResponse_Task{Task: &fleetv1.Task{TaskId: "t", TaskType: "drain_node", Priority: int32(msg.GetSequence())}}
		}
		if err := s.Send(resp); err != nil {
			return err
		}
	}
}

func (h *house) hello(id uuid.UUID) string {
	return fmt.Sprintf(`{"sequence":1,"hello":{"protocol":1,"cluster_id":%q,"agent_id":"a"}}`, id)
}

func (h *house) client(t *testing.T) *websocket.Conn {
	t.Helper()
	ws := h.dial(t, "/api/v1/client/stream?cluster_id="+h.cluster.String(), "agent")
	return ws
}

// fields reads a JSON object.
func fields(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return out
}

func TestAnAgentSpeaksJSONAndBadFramesAreAnsweredNotFatal(t *testing.T) {
	h := open(t)
	h.agent.connect = echo
	ws := h.client(t)
	write(t, ws, h.hello(h.cluster))
	welcome := fields(t, read(t, ws))["welcome"].(map[string]any)
	if welcome["session_epoch"] != "7" {
		t.Fatalf("got %v", welcome)
	}
	for frame, want := range map[string]string{
		`not json`:                             "0",
		`{"sequence":2,"shout":{}}`:            "2",
		`{"sequence":"3","heartbeat":{"x":1}}`: "3",
		`{"sequence":4}`:                       "4",
		`{"sequence":5,"heartbeat":"now"}`:     "5",
		`[]`:                                   "0",
		`{"hello":{},"heartbeat":{}}`:          "0",
	} {
		write(t, ws, frame)
		answer := fields(t, read(t, ws))
		unsupported, _ := answer["unsupported"].(map[string]any)
		if unsupported["sequence"] != want || unsupported["reason"] == "" {
			t.Errorf("%s was answered with %v", frame, answer)
		}
	}
	if err := ws.Write(t.Context(), websocket.MessageBinary, []byte{1}); err != nil {
		t.Fatal(err)
	}
	if answer := fields(t, read(t, ws)); answer["unsupported"] == nil {
		t.Errorf("a binary frame was answered with %v", answer)
	}
	write(t, ws, `{"sequence":6,"heartbeat":{"status":"healthy"}}`)
	task := fields(t, read(t, ws))["task"].(map[string]any)
	if task["priority"] != 6.0 || task["task_type"] != "drain_node" {
		t.Errorf("after all that the stream is broken: %v", task)
	}
	if _, ok := task["created_by"]; !ok {
		t.Error("a documented field is left out of a task")
	}
}

func TestAnErrorOfTheStreamIsTheLastFrameAndTheCloseCode(t *testing.T) {
	h := open(t)
	h.agent.connect = echo
	ws := h.client(t)
	write(t, ws, `{"sequence":1,"metrics":{"cluster_id":"`+h.cluster.String()+`"}}`)
	last := requireClosed(t, ws, 4409)
	if code, _ := requireErrorBody(t, last); code != "SUPERSEDED" {
		t.Errorf("the last frame is %s", last)
	}
}

func TestHelloMustNameTheClusterOfTheQuery(t *testing.T) {
	h := open(t)
	h.agent.connect = echo
	ws := h.client(t)
	write(t, ws, h.hello(uuid.New()))
	code, details := requireErrorBody(t, requireClosed(t, ws, 4422))
	want := map[string]any{"field": "cluster_id", "constraint": "must equal cluster_id of the query"}
	if diff := cmp.Diff(want, details); code != "INVALID_REQUEST" || diff != "" {
		t.Errorf("%s %s", code, diff)
	}
}

func TestAStreamEndsWithItsKey(t *testing.T) {
	h := open(t)
	h.admin.stream = stay
	ws := h.dial(t, "/api/v1/admin/stream", "viewer")
	read(t, ws)
	h.doorman.revoke(fault.New(faultv1.Reason_REASON_UNAUTHENTICATED, "Invalid API key"))
	requireBye(t, requireClosed(t, ws, 4401), "signed_out")
}

func TestAServerThatStopsSaysSo(t *testing.T) {
	h := open(t)
	h.admin.stream = stay
	ws := h.dial(t, "/api/v1/admin/stream", "viewer")
	read(t, ws)
	h.srv.Stop()
	requireBye(t, requireClosed(t, ws, websocket.StatusTryAgainLater), "draining")
}

func TestTheHandlerHearsThatTheDashboardLeft(t *testing.T) {
	h := open(t)
	left := make(chan struct{})
	h.admin.stream = func(req *adminv1.StreamRequest, s adminFeed) error {
		defer close(left)
		return stay(req, s)
	}
	ws := h.dial(t, "/api/v1/admin/stream", "viewer")
	read(t, ws)
	_ = ws.Close(websocket.StatusNormalClosure, "")
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Fatal("the stream goes on without a listener")
	}
}

func TestTheDashboardsStreamTakesNoMessages(t *testing.T) {
	h := open(t)
	h.admin.stream = stay
	ws := h.dial(t, "/api/v1/admin/stream", "viewer")
	read(t, ws)
	write(t, ws, "hello?")
	requireErrorBody(t, requireClosed(t, ws, 4400))
}

func TestASlowReaderIsClosedWithAReason(t *testing.T) {
	h := open(t)
	ended := make(chan struct{})
	h.admin.stream = func(_ *adminv1.StreamRequest, s adminFeed) error {
		defer close(ended)
		for {
			if err := s.Send(&adminv1.StreamResponse{Type: "cluster_state", Message: strings.Repeat("x", 64<<10)}); err != nil {
				return err
			}
		}
	}
	ws := h.dial(t, "/api/v1/admin/stream", "viewer")
	// Nothing is read until the buffers are full and the line has ended.
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatal("a reader who reads nothing is kept")
	}
	requireBye(t, requireClosed(t, ws, 4429), "slow_reader")
}

func TestTheLineIsPingedAndADeadOneIsGivenUp(t *testing.T) {
	h := open(t)
	h.beat = beat{every: 20 * time.Millisecond, within: 200 * time.Millisecond}
	left := make(chan struct{})
	h.admin.stream = func(req *adminv1.StreamRequest, s adminFeed) error {
		defer close(left)
		return stay(req, s)
	}
	var pings atomic.Int64
	var deaf atomic.Bool
	ws, _, err := websocket.Dial(t.Context(), h.url+"/api/v1/admin/stream", &websocket.DialOptions{
		HTTPHeader:     http.Header{"Authorization": {"Bearer viewer"}},
		OnPingReceived: func(context.Context, []byte) bool { pings.Add(1); return !deaf.Load() },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	go func() {
		for {
			if _, _, err := ws.Read(context.WithoutCancel(t.Context())); err != nil {
				return
			}
		}
	}()
	for began := time.Now(); pings.Load() < 5; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("no pings come")
		}
	}
	select {
	case <-left:
		t.Fatal("a line that answers was given up")
	default:
	}
	deaf.Store(true)
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Fatal("a line that does not answer is kept")
	}
}
