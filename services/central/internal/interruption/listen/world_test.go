package listen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/cloudoptim/cloudoptim/pkg/awsfault"
	"github.com/cloudoptim/cloudoptim/pkg/moto"
	"github.com/cloudoptim/cloudoptim/pkg/moto/mototest"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
)

// metrics are those of all tests together.
var metrics = sdkmetric.NewManualReader()

func TestMain(m *testing.M) {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} { // central's own identity
		if err := os.Setenv(name, "central"); err != nil { // not t.Setenv, which forbids parallel tests
			panic(err)
		}
	}
	otel.SetMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(metrics)))
	mototest.Main(m)
}

// counter is the sum of a counter's points that have the attribute.
func counter(t *testing.T, name, key, value string) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	require(t, metrics.Collect(t.Context(), &all))
	var sum int64
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			data, is := m.Data.(metricdata.Sum[int64])
			if m.Name != name || !is {
				continue
			}
			for _, point := range data.DataPoints {
				if got, _ := point.Attributes.Value(attribute.Key(key)); got.AsString() == value {
					sum += point.Value
				}
			}
		}
	}
	return sum
}

// patience bounds every wait; two busy cores are slow, but not this slow.
const patience = 90 * time.Second

// testPace makes a minute a second or two; SQS counts in whole seconds.
var testPace = pace{
	refresh: 100 * time.Millisecond, wait: time.Second, visibility: 3 * time.Second, extend: time.Second, take: 20 * time.Second,
	outage: 10 * time.Second, stop: 10 * time.Second, backoff: 100 * time.Millisecond, joining: time.Second,
}

// world is a moto behind faults, with a listener before it.
type world struct {
	t      *testing.T
	rules  *awsfault.Rules
	spy    *spy
	intake *intake
	queues *queueList
	log    *record
	aws    *sqs.Client // without faults
	url    string      // of the endpoint with faults
}

func newWorld(t *testing.T, seed uint64) *world {
	t.Helper()
	server := mototest.Server(t)
	w := &world{
		t: t, rules: awsfault.New(seed), queues: &queueList{}, log: &record{}, aws: server.SQS(mototest.Region),
		intake: &intake{committed: map[string]int{}, calls: map[string]int{}, said: map[string]bool{}},
	}
	target, err := url.Parse(server.Endpoint)
	require(t, err)
	w.spy = &spy{t: t, next: w.rules.Transport(&http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}), intake: w.intake, bodies: map[string]string{}}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(target) },
		Transport: w.spy,
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) {
			if conn, _, err := http.NewResponseController(rw).Hijack(); err == nil {
				_ = conn.Close()
			}
		},
	})
	t.Cleanup(proxy.Close)
	w.url = proxy.URL
	return w
}

// listen starts a listener, a replica of central; it ends with the test or by stop.
func (w *world) listen(changes ...func(*pace)) (stop func()) {
	w.t.Helper()
	l, err := New(w.t.Context(), Config{
		Queues: w.queues, Intake: w.intake, Region: mototest.Region, Endpoint: w.url, Log: slog.New(w.log),
	})
	require(w.t, err)
	l.pace = testPace
	for _, change := range changes {
		change(&l.pace)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			require(w.t, err)
		case <-time.After(patience):
			w.t.Error("the listener does not end")
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// queue makes a queue and has it listened to.
func (w *world) queue(shared bool, attributes map[string]string) string {
	w.t.Helper()
	u := mototest.Queue(w.t, attributes)
	w.queues.add(Queue{
		Customers: []uuid.UUID{uuid.New()}, URL: u, RoleARN: moto.RoleARN, ExternalID: moto.ExternalID, Shared: shared,
	})
	return u
}

// withDeadLetters are the attributes of a queue that gives up after so many receives.
func (w *world) withDeadLetters(receives int) (attributes map[string]string, deadURL string) {
	w.t.Helper()
	deadURL = mototest.Queue(w.t, nil)
	out, err := w.aws.GetQueueAttributes(w.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &deadURL, AttributeNames: []types.QueueAttributeName{"QueueArn"}})
	require(w.t, err)
	policy := fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":%d}`, out.Attributes["QueueArn"], receives)
	return map[string]string{"RedrivePolicy": policy}, deadURL
}

func (w *world) send(queue string, bodies ...string) {
	w.t.Helper()
	var all sync.WaitGroup
	chunks := make(chan []string)
	for range 4 {
		all.Go(func() {
			for chunk := range chunks {
				var entries []types.SendMessageBatchRequestEntry
				for i, body := range chunk {
					entries = append(entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(body)})
				}
				out, err := w.aws.SendMessageBatch(context.Background(), &sqs.SendMessageBatchInput{QueueUrl: &queue, Entries: entries})
				if err != nil || len(out.Failed) > 0 {
					w.t.Errorf("sending: %v", err)
				}
			}
		})
	}
	for len(bodies) > 0 {
		n := min(10, len(bodies))
		chunks <- bodies[:n]
		bodies = bodies[n:]
	}
	close(chunks)
	all.Wait()
}

// size is how many messages a queue has, in sight and out of it. One that comes
// into sight between the two counts is in neither, so it is counted twice.
func (w *world) size(queue string) int {
	return max(w.counted(queue), w.counted(queue))
}

func (w *world) counted(queue string) int {
	out, err := w.aws.GetQueueAttributes(context.Background(), &sqs.GetQueueAttributesInput{
		QueueUrl: &queue, AttributeNames: []types.QueueAttributeName{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"},
	})
	require(w.t, err)
	total := 0
	for _, text := range out.Attributes {
		n, err := strconv.Atoi(text)
		require(w.t, err)
		total += n
	}
	return total
}

func (w *world) awaitSize(queue string, want int) {
	w.t.Helper()
	await(w.t, fmt.Sprintf("the queue to hold %d", want), func() bool { return w.size(queue) == want })
}

// intake commits to memory, and has faults of its own.
type intake struct {
	mu sync.Mutex
	// committed counts verdicts Taken by key: more than one is work done twice.
	committed map[string]int
	// calls counts how often each instance was offered.
	calls map[string]int
	// said are instances that got a verdict which lets their messages go.
	said     map[string]bool
	offered  int
	largest  int
	contexts []string

	// verdict is what it says of an instance it was not offered before; nil: Taken.
	verdict func(instance string) Verdict
	// fault happens before it commits, late after it.
	fault, late func(notices []notice.Notice) error
}

func (i *intake) Take(ctx context.Context, queue Queue, notices []notice.Notice) ([]Verdict, error) {
	if len(queue.Customers) == 0 {
		return nil, errors.New("a queue without customers")
	}
	i.mu.Lock()
	fault, late := i.fault, i.late
	i.offered++
	i.largest = max(i.largest, len(notices))
	for _, n := range notices {
		i.calls[n.InstanceID]++
		i.contexts = append(i.contexts, n.Traceparent)
	}
	i.mu.Unlock()
	if fault != nil {
		if err := fault(notices); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	verdicts := i.commit(notices)
	if late != nil {
		return verdicts, late(notices)
	}
	return verdicts, nil
}

func (i *intake) commit(notices []notice.Notice) []Verdict {
	i.mu.Lock()
	defer i.mu.Unlock()
	verdicts := make([]Verdict, len(notices))
	for at, n := range notices {
		v := Taken
		if i.verdict != nil {
			v = i.verdict(n.InstanceID)
		}
		if v == Taken && i.committed[n.Key] > 0 {
			v = Duplicate
		}
		if v == Taken {
			i.committed[n.Key]++
		}
		if v != Joining {
			i.said[n.InstanceID] = true
		}
		verdicts[at] = v
	}
	return verdicts
}

func (i *intake) set(change func(*intake)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func (i *intake) taken() map[string]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.committed)
}

func (i *intake) called(instance string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls[instance]
}

func (i *intake) mayGo(instance string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.said[instance]
}

// spy sees every delete on its way to AWS and fails the test when a message goes
// that was not committed and that somebody can read.
type spy struct {
	t      *testing.T
	next   http.RoundTripper
	intake *intake

	mu      sync.Mutex
	bodies  map[string]string // by receipt
	deletes int
}

func (s *spy) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	_, action, _ := strings.Cut(request.Header.Get("X-Amz-Target"), ".")
	if action == "DeleteMessageBatch" {
		s.checkDelete(body)
	}
	response, err := s.next.RoundTrip(request)
	if err != nil || action != "ReceiveMessage" || response.StatusCode != http.StatusOK {
		return response, err
	}
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(answer))
	var out struct {
		Messages []struct{ ReceiptHandle, Body string }
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, message := range out.Messages {
		s.bodies[message.ReceiptHandle] = message.Body
	}
	return response, nil
}

func (s *spy) checkDelete(body []byte) {
	var in struct {
		Entries []struct{ ReceiptHandle string }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		s.t.Errorf("a delete that cannot be read: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, entry := range in.Entries {
		s.deletes++
		text, received := s.bodies[entry.ReceiptHandle]
		if !received {
			s.t.Errorf("deleting what was never received: %s", entry.ReceiptHandle)
		}
		notices, err := notice.Parse([]byte(text))
		if err != nil {
			continue // dropped
		}
		for _, n := range notices {
			if !s.intake.mayGo(n.InstanceID) {
				s.t.Errorf("deleting the message about %s before anybody committed it", n.InstanceID)
			}
		}
	}
}

// queueList is what B's part looks up in the database.
type queueList struct {
	mu     sync.Mutex
	queues []Queue
	err    error
}

func (q *queueList) Queues(context.Context) ([]Queue, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]Queue(nil), q.queues...), q.err
}

func (q *queueList) add(queue Queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queues = append(q.queues, queue)
}

func (q *queueList) set(queues ...Queue) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.queues = queues
}

// record is a log that tests look into.
type record struct {
	mu    sync.Mutex
	lines []string
}

func (r *record) Enabled(context.Context, slog.Level) bool { return true }

func (r *record) Handle(_ context.Context, line slog.Record) error {
	var text strings.Builder
	text.WriteString(line.Level.String() + " " + line.Message)
	line.Attrs(func(a slog.Attr) bool {
		text.WriteString(" " + a.String())
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, text.String())
	return nil
}

func (r *record) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r *record) WithGroup(string) slog.Handler      { return r }

// count is how many lines have all the words.
func (r *record) count(words ...string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, line := range r.lines {
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			n++
		}
	}
	return n
}

func spot(instance string) string {
	return fmt.Sprintf(`{"version":"0","id":"%s","detail-type":"EC2 Spot Instance Interruption Warning","source":"aws.ec2","account":"123456789012",
		"time":%q,"region":"us-east-1","resources":[],"detail":{"instance-id":%q,"instance-action":"terminate"}}`,
		uuid.NewString(), time.Now().UTC().Format(time.RFC3339), instance)
}

// fleet names n instances.
func fleet(prefix string, n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("i-%s%05d", prefix, i)
	}
	return ids
}

func spots(instances []string) []string {
	var bodies []string
	for _, instance := range instances {
		bodies = append(bodies, spot(instance))
	}
	return bodies
}

// requireTakenOnce fails unless each instance's warning was committed exactly once.
func (w *world) requireTakenOnce(instances []string) {
	w.t.Helper()
	taken := w.intake.taken()
	for _, instance := range instances {
		if n := taken["spot/"+instance+"/terminate"]; n != 1 {
			w.t.Errorf("%s was taken %d times", instance, n)
		}
	}
	if len(taken) != len(instances) {
		w.t.Errorf("%d taken, want %d", len(taken), len(instances))
	}
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

func require(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
