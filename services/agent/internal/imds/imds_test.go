package imds

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/pkg/aemm"
)

func TestMain(m *testing.M) {
	// It forks every child, and ends with the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/cloudoptim/cloudoptim/pkg/proc.fork"))
}

const instance = "i-0123456789abcdef0"

const (
	spotPath      = "/latest/meta-data/spot/instance-action"
	rebalancePath = "/latest/meta-data/events/recommendations/rebalance"
	scheduledPath = "/latest/meta-data/events/maintenance/scheduled"
	lifecyclePath = "/latest/meta-data/autoscaling/target-lifecycle-state"
)

// service is a metadata service that a test can break.
type service struct {
	*httptest.Server
	mu      sync.Mutex
	items   map[string]string
	status  map[string]int
	ahead   time.Duration // its clock against ours
	tokens  int
	current string
}

func newService(t *testing.T) *service {
	t.Helper()
	s := &service{items: map[string]string{"/latest/meta-data/instance-id": instance}, status: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	return s
}

func (s *service) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Date", time.Now().Add(s.ahead).UTC().Format(http.TimeFormat))
	if code := s.status[r.URL.Path]; code != 0 {
		w.WriteHeader(code)
		return
	}
	if r.URL.Path == "/latest/api/token" {
		if r.Method != http.MethodPut || r.Header.Get("X-aws-ec2-metadata-token-ttl-seconds") != "21600" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.tokens++
		s.current = fmt.Sprintf("token-%d", s.tokens)
		fmt.Fprint(w, s.current)
		return
	}
	if r.Header.Get("X-aws-ec2-metadata-token") != s.current {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	text, ok := s.items[r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	fmt.Fprint(w, text)
}

func (s *service) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// watch polls when the test says so.
type watch struct {
	*Watcher
	t    *testing.T
	last Reading
	told int
}

func newWatch(t *testing.T, endpoint string) *watch {
	t.Helper()
	client, err := New(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.http.CloseIdleConnections)
	w := &watch{t: t}
	w.Watcher = &Watcher{
		Client: client, BootID: "boot-1", Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Changed: func(r Reading) { w.last = r; w.told++ },
		seen:    map[string][]Notice{}, broken: map[string]string{},
	}
	return w
}

func (w *watch) ask1(wantErr bool) {
	w.t.Helper()
	if err := w.poll(w.t.Context()); (err != nil) != wantErr {
		w.t.Fatalf("poll: %v", err)
	}
}

// kinds are the notices of the last reading: kind to action.
func (w *watch) kinds() map[string]string {
	out := map[string]string{}
	for _, n := range w.last.Notices {
		out[n.GetEventType()] = n.GetAction()
	}
	return out
}

func (w *watch) requireKinds(want map[string]string) {
	w.t.Helper()
	if got := w.kinds(); !maps.Equal(got, want) {
		w.t.Fatalf("notices %v, want %v", got, want)
	}
}

func TestEveryItemOfTheServiceBecomesANoticeAndItsLackWithdrawsIt(t *testing.T) {
	s := newService(t)
	w := newWatch(t, s.URL)
	w.ask1(false)
	if w.told != 1 || !w.last.Complete || w.last.InstanceID != instance || len(w.last.Notices) != 0 {
		t.Fatalf("first reading, told %d times: %+v", w.told, w.last)
	}
	end := time.Now().Add(90 * time.Second).UTC().Truncate(time.Second)
	s.set(func() {
		s.items[spotPath] = fmt.Sprintf(`{"action": "stop", "time": %q}`, end.Format(time.RFC3339))
		s.items[rebalancePath] = `{"noticeTime":"2026-08-21T10:15:00Z"}`
		s.items[scheduledPath] = `[{"NotBefore":"21 Jan 2036 09:00:43 GMT","Code":"instance-retirement","Description":"x","EventId":"instance-event-1","NotAfter":"","State":"active"},
			{"NotBefore":"21 Jan 2020 09:00:43 GMT","Code":"system-reboot","EventId":"instance-event-0","State":"completed"}]`
		s.items[lifecyclePath] = "Terminated"
	})
	w.ask1(false)
	w.requireKinds(map[string]string{Interruption: "stop", Rebalance: "", Scheduled: "instance-retirement", Lifecycle: "terminate"})
	spot := w.last.Notices[0]
	if !spot.GetActionTime().AsTime().Equal(end) || spot.GetRemainingSeconds() < 85 || spot.GetRemainingSeconds() > 91 {
		t.Fatalf("notice %v", spot)
	}
	if lifecycle := w.last.Notices[3]; lifecycle.GetActionTime() != nil || !lifecycle.Until.IsZero() {
		t.Fatalf("the group names no time, the notice does: %v", lifecycle)
	}
	w.ask1(false)
	if w.told != 2 {
		t.Fatalf("told %d times of the same", w.told)
	}
	s.set(func() { delete(s.items, scheduledPath); s.items[lifecyclePath] = "InService" })
	w.ask1(false)
	w.requireKinds(map[string]string{Interruption: "stop", Rebalance: ""})
}

func TestTheSameNoticeKeepsItsNameTimeAndDeadline(t *testing.T) {
	s := newService(t)
	w := newWatch(t, s.URL)
	s.set(func() { s.items[spotPath] = `{"action":"terminate","time":"2026-08-21T10:17:00Z"}` })
	w.ask1(false)
	first := w.last.Notices[0]
	s.set(func() { s.items[spotPath] = `{"action":"terminate","time":"2026-08-21T10:17:02Z"}` })
	w.ask1(false)
	if w.told != 1 {
		t.Fatalf("told %d times", w.told)
	}
	again := newWatch(t, s.URL) // as after a restart
	again.ask1(false)
	if id := again.last.Notices[0].GetNoticeId(); id != first.GetNoticeId() || len(id) > 128 {
		t.Fatalf("names %q and %q", first.GetNoticeId(), id)
	}
	again.BootID = "boot-2"
	if id := again.id(finding{kind: Interruption}); id == first.GetNoticeId() {
		t.Fatal("another boot's notice has the same name")
	}
}

func TestATokenThatTheServiceForgotIsReplaced(t *testing.T) {
	s := newService(t)
	w := newWatch(t, s.URL)
	w.ask1(false)
	s.set(func() {
		s.current = "restarted"
		s.items[spotPath] = `{"action":"terminate","time":"2026-08-21T10:17:00Z"}`
	})
	w.ask1(false)
	w.requireKinds(map[string]string{Interruption: "terminate"})
	if s.tokens != 2 {
		t.Fatalf("%d tokens were asked for", s.tokens)
	}
}

func TestFaultsOfTheServiceNeitherMakeNorWithdrawANotice(t *testing.T) {
	s := newService(t)
	w := newWatch(t, s.URL)
	s.set(func() { s.status[rebalancePath] = http.StatusForbidden })
	w.ask1(false)
	if w.last.Complete {
		t.Fatal("complete, though an item was refused")
	}
	s.set(func() {
		delete(s.status, rebalancePath)
		s.items[spotPath] = `{"action":"terminate","time":"2026-08-21T10:17:00Z"}`
	})
	w.ask1(false)
	want := map[string]string{Interruption: "terminate"}
	w.requireKinds(want)
	if !w.last.Complete {
		t.Fatal("not complete, though all was answered")
	}
	for _, body := range []string{"", "<html>", "{}", `{"action":"explode","time":"2026-08-21T10:17:00Z"}`, `{"action":7}`, strings.Repeat("x", 70<<10), "\ufeff{}"} {
		s.set(func() { s.items[spotPath] = body })
		_ = w.poll(t.Context())
		w.requireKinds(want)
	}
	for _, code := range []int{500, 503, 302, 401} {
		s.set(func() { s.status[spotPath] = code })
		_ = w.poll(t.Context())
		w.requireKinds(want)
	}
	s.Close()
	w.ask1(true)
	w.requireKinds(want)
}

func TestAServiceThatNeverAnswersIsAskedEverLess(t *testing.T) {
	w := newWatch(t, "http://127.0.0.1:1")
	var last time.Duration
	for range 12 {
		w.ask1(true)
		last = w.pause(fmt.Errorf("no answer"))
	}
	if last < 30*time.Second || last > time.Minute {
		t.Fatalf("pause %s", last)
	}
	w.pause(nil)
	for range 12 {
		last = w.pause(fmt.Errorf("no answer"))
	}
	if last > 4*time.Second {
		t.Fatalf("a service that worked is asked only after %s", last)
	}
	if w.told != 0 {
		t.Fatal("there was a reading")
	}
}

// TestF37 is the agent's half: what the wire carries is a duration, and neither
// this machine's clock nor AWS's may move it by more than a second.
func TestF37AClockThatIsOffByFiveMinutesMovesNoDeadline(t *testing.T) {
	for _, skew := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute, 3 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			s := newService(t)
			aws := time.Now().Add(skew)
			s.set(func() {
				s.ahead = skew
				s.items[spotPath] = fmt.Sprintf(`{"action":"terminate","time":%q}`, aws.Add(100*time.Second).UTC().Format(time.RFC3339))
			})
			w := newWatch(t, s.URL)
			w.ask1(false)
			taken := time.Since(aws.Add(-skew)) // a loaded machine may have been slow to ask
			n := w.last.Notices[0]
			if off := n.GetRemainingSeconds() + taken.Seconds() - 100; off < -1.6-taken.Seconds() || off > 1+taken.Seconds() {
				t.Fatalf("%.2f s remain of 100, %s later", n.GetRemainingSeconds(), taken)
			}
			if off := time.Until(n.Until).Seconds() - n.GetRemainingSeconds(); off > 0.1 {
				t.Fatalf("the timer has %.2f s more than the notice", off)
			}
		})
	}
}

func TestF37ASpotNoticeNeverLeavesMoreThanTwoMinutesNorLessThanNothing(t *testing.T) {
	now := time.Date(2026, 8, 21, 10, 15, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		find  finding
		want  time.Duration
		known bool
	}{
		"as AWS says":           {finding{kind: Interruption, action: "terminate", at: now.Add(39 * time.Second)}, 39 * time.Second, true},
		"far ahead":             {finding{kind: Interruption, action: "stop", at: now.Add(6 * time.Minute)}, 2 * time.Minute, true},
		"in the past":           {finding{kind: Interruption, action: "stop", at: now.Add(-4 * time.Minute)}, 0, true},
		"hibernation":           {finding{kind: Interruption, action: "hibernate", at: now.Add(time.Minute)}, 0, true},
		"without a time":        {finding{kind: Interruption, action: "terminate"}, 0, true},
		"maintenance next week": {finding{kind: Scheduled, action: "system-reboot", at: now.Add(168 * time.Hour)}, 168 * time.Hour, true},
		"a group's termination": {finding{kind: Lifecycle, action: "terminate"}, 0, false},
		"a recommendation":      {finding{kind: Rebalance}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWatch(t, "http://127.0.0.1:1")
			w.Client.offset = time.Until(now)
			n := w.notice("id", tc.find)
			left, known := Remaining(n.NodeNotice, now)
			if left != tc.want || known != tc.known {
				t.Fatalf("%s, %v", left, known)
			}
			if known && (n.GetRemainingSeconds() > tc.want.Seconds() || n.GetRemainingSeconds() < tc.want.Seconds()-5) {
				t.Fatalf("notice %v", n)
			}
			if known == n.Until.IsZero() {
				t.Fatalf("until %v", n.Until)
			}
		})
	}
}

func TestANoAddressIsRefused(t *testing.T) {
	for _, endpoint := range []string{"", "169.254.169.254", "ftp://x", "http://", ":"} {
		if _, err := New(endpoint); err == nil {
			t.Errorf("%q was taken", endpoint)
		}
	}
}

// mock starts amazon-ec2-metadata-mock, the one that AWS makes.
func mock(t *testing.T, args ...string) string {
	t.Helper()
	path, err := aemm.Path(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	endpoint, child, err := aemm.Start(t.Context(), path, aemm.Config{Dir: t.TempDir(), Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(child.Kill)
	return endpoint
}

// follow runs a real watcher until a notice of the kind comes.
func follow(t *testing.T, endpoint, kind string) (*fleetv1.NodeNotice, Reading) {
	t.Helper()
	client, err := New(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer client.http.CloseIdleConnections()
	readings := make(chan Reading, 16)
	var quiet atomic.Bool
	w := &Watcher{
		Client: client, BootID: "boot-1", Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Changed: func(r Reading) {
			if !quiet.Load() {
				readings <- r
			}
		},
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() {
		quiet.Store(true)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			t.Fatalf("no %s from the mock", kind)
		case r := <-readings:
			for _, n := range r.Notices {
				if n.GetEventType() == kind {
					return n.NodeNotice, r
				}
			}
		}
	}
}

func TestF11TheSpotNoticeOfAWSsOwnMockIsSeenWithinFiveSeconds(t *testing.T) {
	due := time.Now().Add(4 * time.Second).UTC().Truncate(time.Second)
	url := mock(t, "spot", "--action=terminate", "--mock-trigger-time="+due.Format(time.RFC3339))
	there := time.Now() // that the mock may have taken its time to be built and started
	if due.After(there) {
		there = due
	}
	n, r := follow(t, url, Interruption)
	if late := time.Since(there); late > 5*time.Second {
		t.Errorf("seen %s after it was there", late)
	}
	if n.GetAction() != "terminate" || n.GetRemainingSeconds() < 110 || n.GetRemainingSeconds() > 120 || r.InstanceID == "" {
		t.Fatalf("notice %v of %s", n, r.InstanceID)
	}
}

func TestTheRebalanceRecommendationOfAWSsOwnMockIsRead(t *testing.T) {
	n, _ := follow(t, mock(t, "spot", "--rebalance-delay-sec=0", "--mock-delay-sec=3600"), Rebalance)
	if n.GetActionTime() != nil {
		t.Fatalf("notice %v", n)
	}
}

func TestTheScheduledEventOfAWSsOwnMockIsRead(t *testing.T) {
	n, _ := follow(t, mock(t, "events", "--code=instance-retirement", "--not-before=2036-08-21T10:00:00Z"), Scheduled)
	if n.GetAction() != "instance-retirement" || n.GetActionTime().AsTime().Format(time.RFC3339) != "2036-08-21T10:00:00Z" {
		t.Fatalf("notice %v", n)
	}
}

func TestTheLifecycleStateOfAWSsOwnMockIsRead(t *testing.T) {
	n, _ := follow(t, mock(t, "asglifecycle", "--asg-termination-delay-sec=0"), Lifecycle)
	if n.GetAction() != "terminate" {
		t.Fatalf("notice %v", n)
	}
}

func FuzzItems(f *testing.F) {
	for _, text := range []string{
		`{"action":"terminate","time":"2026-08-21T10:17:00Z"}`, `{"noticeTime":"2026-08-21T10:15:00Z"}`, "Terminated", "InService",
		`[{"NotBefore":"21 Jan 2019 09:00:43 GMT","Code":"system-reboot","EventId":"instance-event-1","State":"active"}]`,
		`{"action":"stop","time":"-9999-01-01T00:00:00Z"}`, `{}`, `[]`, `null`, "\ufeff{}", `{"action":"stop","action":7}`, `{"action":"stop","time":"10000-01-01T00:00:00Z"}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, item := range items {
			found, err := item.read([]byte(text))
			if err != nil && found != nil {
				t.Fatal("found something in what cannot be read")
			}
			w := &Watcher{Client: &Client{}, BootID: "b", instance: instance}
			for _, one := range found {
				n := w.notice(w.id(one), one)
				if n.GetActionTime().CheckValid() != nil && n.GetActionTime() != nil {
					t.Fatalf("time %v", n.GetActionTime())
				}
				if n.GetRemainingSeconds() < 0 || (one.kind == Interruption && n.GetRemainingSeconds() > 120) {
					t.Fatalf("%f s remain", n.GetRemainingSeconds())
				}
				if len(n.GetNoticeId()) > 128 || len(n.GetAction()) > 64 {
					t.Fatalf("notice %v", n)
				}
			}
		}
	})
}
