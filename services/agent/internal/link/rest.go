package link

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

const (
	// callWithin bounds one call.
	callWithin = 10 * time.Second
	// maxAnswer bounds what an answer may hold.
	maxAnswer = 64 << 20
)

// REST is central's documented HTTP door.
type REST struct {
	// Base is like https://central.example.com.
	Base string
	// Key is the cluster's API key, read for each call so that a new one counts at once.
	Key func() (string, error)
	// Roots verify central; nil: the system's authorities.
	Roots *x509.CertPool

	// dial is for tests.
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// rest speaks HTTP/1.1 alone: it is for where HTTP/2 does not get through.
type rest struct {
	cfg     *REST
	cluster string
	http    *http.Client
}

func newREST(cfg *REST, cluster string) *rest {
	return &rest{cfg: cfg, cluster: cluster, http: &http.Client{Timeout: callWithin, Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: cfg.dial,
		TLSClientConfig: &tls.Config{RootCAs: cfg.Roots, MinVersion: tls.VersionTLS12},
		TLSNextProto:    map[string]func(string, *tls.Conn) http.RoundTripper{}, IdleConnTimeout: time.Minute,
	}}}
}

// httpError is an answer that was no success.
type httpError struct {
	status int
	after  time.Duration
	body   string
}

func (e *httpError) Error() string { return fmt.Sprintf("central answered %d: %s", e.status, e.body) }

// tasks are those that are not finished; central leases the waiting ones to us.
func (r *rest) tasks(ctx context.Context) ([]*fleetv1.Task, error) {
	raw, err := r.call(ctx, http.MethodGet, "/api/v1/client/tasks?cluster_id="+url.QueryEscape(r.cluster), nil)
	if err != nil {
		return nil, err
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("reading the tasks: %w", err)
	}
	tasks := make([]*fleetv1.Task, 0, len(list))
	for _, one := range list {
		task := &fleetv1.Task{}
		if err := read.Unmarshal(one, task); err != nil {
			return nil, fmt.Errorf("reading a task: %w", err)
		}
		tasks = append(tasks, task)
	}
	return tasks, nil
}

func (r *rest) result(ctx context.Context, result *fleetv1.TaskResult) (*agentv1.ResultAck, error) {
	raw, err := r.send(ctx, "/api/v1/client/tasks/"+url.PathEscape(result.GetTaskId())+"/result", result)
	if gone := (*httpError)(nil); errors.As(err, &gone) && gone.status == http.StatusNotFound {
		return &agentv1.ResultAck{TaskId: result.GetTaskId()}, nil // as the stream answers it
	}
	if err != nil {
		return nil, err
	}
	answer := &agentv1.SubmitTaskResultResponse{}
	if err := read.Unmarshal(raw, answer); err != nil {
		return nil, fmt.Errorf("reading the answer to a result: %w", err)
	}
	return &agentv1.ResultAck{TaskId: result.GetTaskId(), Accepted: answer.GetAccepted()}, nil
}

func (r *rest) metrics(ctx context.Context, m *fleetv1.ClusterMetrics) error {
	_, err := r.send(ctx, "/api/v1/client/metrics", m)
	return err
}

func (r *rest) events(ctx context.Context, events []*fleetv1.Event) error {
	list := make([]json.RawMessage, 0, len(events))
	for _, event := range events {
		raw, err := write.Marshal(event)
		if err != nil {
			return fmt.Errorf("writing an event: %w", err)
		}
		list = append(list, raw)
	}
	body, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("writing events: %w", err)
	}
	_, err = r.call(ctx, http.MethodPost, "/api/v1/client/events", body)
	return err
}

// notice reports what an instance said of itself, as an event of its node.
func (r *rest) notice(ctx context.Context, n *fleetv1.NodeNotice) error {
	seen := n.GetNoticedAt()
	if seen == nil {
		seen = timestamppb.Now()
	}
	return r.events(ctx, []*fleetv1.Event{{
		EventId: n.GetNoticeId()[:min(len(n.GetNoticeId()), 64)], ClusterId: r.cluster, Type: "Warning", Reason: "NodeNotice",
		Message: "the instance's own notice: " + n.GetEventType(), ObjectKind: "Node", ObjectName: n.GetNodeName(),
		ReportingComponent: "cloudoptim-agent", FirstSeen: seen, LastSeen: seen, Notice: n,
	}})
}

// heartbeat returns how many tasks wait, and the stop that holds.
func (r *rest) heartbeat(ctx context.Context, status string) (*agentv1.HeartbeatResponse, error) {
	raw, err := r.send(ctx, "/api/v1/client/heartbeat", &agentv1.HeartbeatRequest{
		ClusterId: r.cluster, Status: status, Timestamp: timestamppb.Now(),
	})
	if err != nil {
		return nil, err
	}
	answer := &agentv1.HeartbeatResponse{}
	if err := read.Unmarshal(raw, answer); err != nil {
		return nil, fmt.Errorf("reading the answer to a heartbeat: %w", err)
	}
	return answer, nil
}

var (
	write = protojson.MarshalOptions{UseProtoNames: true}
	// A newer central may say more than we know.
	read = protojson.UnmarshalOptions{DiscardUnknown: true}
)

func (r *rest) send(ctx context.Context, path string, msg proto.Message) ([]byte, error) {
	body, err := write.Marshal(msg)
	if err != nil {
		return nil, fmt.Errorf("writing a body: %w", err)
	}
	return r.call(ctx, http.MethodPost, path, body)
}

func (r *rest) call(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	key, err := r.cfg.Key()
	if err != nil {
		return nil, fmt.Errorf("reading the API key: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.cfg.Base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking central: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading central's answer: %w", err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, refusal(resp, raw)
	}
	return raw, nil
}

func refusal(resp *http.Response, body []byte) error {
	after, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil {
		after = 0
	}
	return &httpError{status: resp.StatusCode, after: time.Duration(after) * time.Second, body: string(body[:min(len(body), 512)])}
}
