package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/activity"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// shelf has news without a database, so that time can be tested. The real one is
// tested in store, and with all of central in stream_test.go there.
type shelf struct {
	mu      sync.Mutex
	told    []store.Told
	waiting []store.Told
	before  int64 // numbers given before the first of told
	pruned  int64
	since   time.Time
	wake    func()
}

func (s *shelf) Tell(_ context.Context, customer uuid.UUID, what *adminv1.StreamResponse) error {
	s.mu.Lock()
	what, _ = proto.Clone(what).(*adminv1.StreamResponse)
	s.waiting = append(s.waiting, store.Told{Message: what, Customer: uuid.NullUUID{UUID: customer, Valid: customer != uuid.Nil}})
	s.mu.Unlock()
	s.wake()
	return nil
}

func (s *shelf) OnTell(wake func()) { s.wake = wake }

func (s *shelf) NumberActivity(context.Context, int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.waiting)
	for _, one := range s.waiting {
		one.Message.Sequence = s.before + int64(len(s.told)) + 1
		one.Wire, _ = proto.Marshal(one.Message)
		s.told = append(s.told, one)
	}
	s.waiting = nil
	return n, nil
}

func (s *shelf) ActivityHead(context.Context) (int64, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.before + int64(len(s.told)), s.pruned, nil
}

func (s *shelf) ActivityAfter(_ context.Context, after int64, limit int) ([]store.Told, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := s.told[min(max(0, after-s.before), int64(len(s.told))):]
	return slices.Clone(from[:min(limit, len(from))]), nil
}

func (s *shelf) MissedActivity(_ context.Context, _ store.Only, after, until int64, limit int) (store.Missed, error) {
	return store.Missed{Count: min(limit, int(until-after)), Since: s.since}, nil
}

func (s *shelf) ReplayActivity(ctx context.Context, _ store.Only, after, until int64, limit int) ([]*adminv1.StreamResponse, error) {
	page, err := s.ActivityAfter(ctx, after, min(limit, int(until-after)))
	var out []*adminv1.StreamResponse
	for _, one := range page {
		out = append(out, one.Message)
	}
	return out, err
}

// hall is an admin server with its feed.
type hall struct {
	*Server
	shelf *shelf
	mine  uuid.UUID
	stop  context.CancelFunc
}

func openHall(t *testing.T) *hall {
	t.Helper()
	h := &hall{shelf: &shelf{since: time.Now()}, mine: uuid.New()}
	b := bus.New()
	feed := activity.NewFeed(h.shelf, b, slog.New(slog.DiscardHandler))
	feed.Serve(h.shelf)
	h.Server = New(Config{Bus: b, Feed: feed, Replays: h.shelf, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- feed.Run(ctx) }()
	h.stop = func() { cancel(); <-done }
	return h
}

func (h *hall) tell(t *testing.T, kind, subject string) {
	t.Helper()
	if err := h.Bus.PublishDashboard(t.Context(), h.mine, &adminv1.StreamResponse{Type: kind, Subject: subject}); err != nil {
		t.Fatal(err)
	}
}

// glass is a dashboard that keeps what it is sent, and can stop reading.
type glass struct {
	grpc.ServerStream
	ctx    context.Context // grpc.ServerStream hands its context out by method
	cancel context.CancelCauseFunc
	shown  chan *adminv1.StreamResponse
	// ended is closed when the call has ended, with result.
	ended  chan struct{}
	result error
}

func (s *glass) Context() context.Context { return s.ctx }

// Send waits for a reader until the call has ended, as gRPC does.
func (s *glass) Send(msg *adminv1.StreamResponse) error {
	select {
	case s.shown <- msg:
		return nil
	case <-s.ended:
		return errors.New("the call has ended")
	}
}

// SendMsg takes what is written already.
func (s *glass) SendMsg(m any) error {
	msg := &adminv1.StreamResponse{}
	if err := proto.Unmarshal(m.(rpc.Encoded), msg); err != nil {
		return err
	}
	return s.Send(msg)
}

// watch opens the customer's stream, whose reader may be depth messages behind.
func (h *hall) watch(t *testing.T, req *adminv1.StreamRequest, depth int) *glass {
	t.Helper()
	s := &glass{shown: make(chan *adminv1.StreamResponse, depth), ended: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(auth.With(t.Context(), auth.Caller{Kind: accessv1.Caller_CALLER_VIEWER, CustomerID: some(h.mine)}))
	go func() { defer close(s.ended); s.result = h.Stream(req, s) }()
	return s
}

// leave closes the dashboard, as its reader would.
func (s *glass) leave() error {
	s.cancel(context.Canceled)
	<-s.ended
	return s.result
}

// next is the next message, as type, subject or message, and sequence.
func (s *glass) next() string {
	msg := <-s.shown
	return fmt.Sprintf("%s %s%s %d", msg.GetType(), msg.GetSubject(), msg.GetMessage(), msg.GetSequence())
}

func (s *glass) want(t *testing.T, all ...string) {
	t.Helper()
	for _, want := range all {
		if got := s.next(); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// wantLast checks that there is one more message, and why the stream ended.
func (s *glass) wantLast(t *testing.T, last string, reason faultv1.Reason) {
	t.Helper()
	s.want(t, last)
	<-s.ended
	if len(s.shown) > 0 {
		t.Errorf("after its last message comes %s", s.next())
	}
	if (s.result != nil || reason != 0) && fault.ReasonOf(s.result) != reason {
		t.Errorf("the stream ended with %v, want %v", s.result, reason)
	}
}

func TestADashboardHearsTheHeartbeatAtOnceAndEveryFifteenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHall(t)
		defer h.stop()
		s := h.watch(t, &adminv1.StreamRequest{}, 100)
		began := time.Now()
		var at []time.Duration
		for range 4 {
			s.want(t, "heartbeat  0")
			at = append(at, time.Since(began))
		}
		if diff := cmp.Diff([]time.Duration{0, 15 * time.Second, 30 * time.Second, 45 * time.Second}, at); diff != "" {
			t.Error(diff)
		}
		if fault.ReasonOf(s.leave()) != faultv1.Reason_REASON_CANCELLED {
			t.Error("the stream does not end with its caller")
		}
	})
}

func TestADashboardHearsItsCustomersNewsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHall(t)
		defer h.stop()
		h.tell(t, "stop", "before")
		synctest.Wait()
		time.Sleep(time.Second)
		s := h.watch(t, &adminv1.StreamRequest{}, 100)
		s.want(t, "heartbeat  1")
		h.tell(t, "stop", "a")
		if err := h.Bus.PublishDashboard(t.Context(), uuid.New(), &adminv1.StreamResponse{Type: "stop", Subject: "theirs"}); err != nil {
			t.Fatal(err)
		}
		if err := h.Bus.PublishDashboard(t.Context(), uuid.Nil, &adminv1.StreamResponse{Type: "model", Subject: "the staff's"}); err != nil {
			t.Fatal(err)
		}
		h.tell(t, "policy", "b")
		s.want(t, "stop a 2", "policy b 5")
		h.tell(t, "task_update", "passes")
		s.want(t, "task_update passes 0", "heartbeat  5")
		if err := h.Bus.Publish(t.Context(), "dashboard:"+h.mine.String(), []byte("\xff")); err != nil { // of another build, perhaps
			t.Fatal(err)
		}
		h.tell(t, "stop", "c")
		s.want(t, "stop c 6")
		_ = s.leave()
	})
}

func TestADashboardHearsOnlyTheTypesAndTheClusterItAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHall(t)
		defer h.stop()
		s := h.watch(t, &adminv1.StreamRequest{Types: []string{"stop", "task_update"}}, 100)
		s.want(t, "heartbeat  0")
		for _, kind := range []string{"policy", "stop", "cluster_state"} {
			h.tell(t, kind, kind)
		}
		s.want(t, "stop stop 2")
		h.tell(t, "cluster_state", "x")
		h.tell(t, "task_update", "y")
		s.want(t, "task_update y 0", "heartbeat  2")
		_ = s.leave()
	})
}

func TestADashboardGoesOnBehindWhatItHasSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHall(t)
		defer h.stop()
		for n := range 250 {
			h.tell(t, "stop", fmt.Sprint(n+1))
		}
		time.Sleep(time.Second)
		s := h.watch(t, &adminv1.StreamRequest{AfterSequence: proto.Int64(2)}, 1000)
		s.want(t, "heartbeat  250")
		for n := int64(3); n <= 250; n++ {
			s.want(t, fmt.Sprintf("stop %d %d", n, n))
		}
		s.want(t, "heartbeat  250") // all is there
		h.tell(t, "stop", "live")
		s.want(t, "stop live 251")
		_ = s.leave()
	})
}

func TestADashboardThatComesFromAReplicaThatHasReadFurtherMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHall(t)
		h.tell(t, "stop", "a")
		time.Sleep(time.Second)
		h.stop() // this replica's feed stands still
		h.tell(t, "stop", "b")
		h.tell(t, "stop", "c")
		if _, err := h.shelf.NumberActivity(t.Context(), 10); err != nil { // another one's goes on
			t.Fatal(err)
		}
		s := h.watch(t, &adminv1.StreamRequest{AfterSequence: proto.Int64(2)}, 100)
		s.want(t, "heartbeat  1", "heartbeat  2")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Feed.Run(ctx) }()
		s.want(t, "stop c 3")
		h.tell(t, "stop", "d")
		s.want(t, "stop d 4")
		_ = s.leave()
		stop()
		<-done
	})
}

func TestWhatIsToldDuringAReplayComesAfterItOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHall(t)
		defer h.stop()
		for n := range 200 {
			h.tell(t, "stop", fmt.Sprint(n+1))
		}
		time.Sleep(time.Second)
		s := h.watch(t, &adminv1.StreamRequest{AfterSequence: proto.Int64(0)}, 0)
		s.want(t, "heartbeat  200")
		for n := range 200 {
			h.tell(t, "stop", fmt.Sprint(n+201))
			s.want(t, fmt.Sprintf("stop %d %d", n+1, n+1))
			time.Sleep(10 * time.Millisecond)
		}
		s.want(t, "heartbeat  200")
		for n := 201; n <= 400; n++ {
			s.want(t, fmt.Sprintf("stop %d %d", n, n))
		}
		_ = s.leave()
	})
}

func TestWhatIsTooMuchOrTooOldToReplayIsAReset(t *testing.T) {
	for name, c := range map[string]struct {
		arrange func(s *shelf)
		after   int64
		reset   bool
	}{
		"nothing missed":          {func(*shelf) {}, 20_000, false},
		"ten thousand":            {func(*shelf) {}, 10_000, false},
		"one more":                {func(*shelf) {}, 9_999, true},
		"from the future":         {func(*shelf) {}, 20_001, true},
		"a day":                   {func(s *shelf) { s.since = time.Now().Add(-24*time.Hour + time.Minute) }, 19_000, false},
		"more than a day":         {func(s *shelf) { s.since = time.Now().Add(-24*time.Hour - time.Minute) }, 19_000, true},
		"deleted":                 {func(s *shelf) { s.pruned = 19_001 }, 19_000, true},
		"the first that was kept": {func(s *shelf) { s.pruned = 19_000 }, 19_000, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openHall(t)
				defer h.stop()
				for n := range int64(20_000) {
					h.shelf.told = append(h.shelf.told, store.Told{Customer: some(h.mine), Message: &adminv1.StreamResponse{Type: "stop", Sequence: n + 1}})
				}
				c.arrange(h.shelf)
				time.Sleep(10 * time.Second) // the feed reads them
				s := h.watch(t, &adminv1.StreamRequest{AfterSequence: &c.after}, 0)
				s.want(t, "heartbeat  20000")
				if c.reset {
					s.want(t, "reset messages are missing: read the state again 20000")
				} else {
					for n := c.after + 1; n <= 20_000; n++ {
						s.want(t, fmt.Sprintf("stop  %d", n))
					}
					s.want(t, "heartbeat  20000")
				}
				h.tell(t, "stop", "live")
				s.want(t, "stop live 20001")
				_ = s.leave()
			})
		})
	}
}

func TestNumbersThatBeginAnewAreAReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHall(t)
		defer h.stop()
		for range 9 {
			h.tell(t, "stop", "x")
		}
		time.Sleep(time.Second)
		s := h.watch(t, &adminv1.StreamRequest{}, 10)
		s.want(t, "heartbeat  9")
		h.shelf.mu.Lock()
		h.shelf.told = h.shelf.told[:4] // the database was restored
		h.shelf.mu.Unlock()
		s.want(t, "reset the numbers began anew: read the state again 4")
		h.tell(t, "stop", "live")
		s.want(t, "stop live 5")
		_ = s.leave()
	})
}

func TestASlowReaderIsDroppedWithAReasonAndHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHall(t)
		defer h.stop()
		slow, deaf, quick := h.watch(t, &adminv1.StreamRequest{}, 0), h.watch(t, &adminv1.StreamRequest{}, 0), h.watch(t, &adminv1.StreamRequest{}, 10_000)
		for _, s := range []*glass{slow, deaf, quick} {
			s.want(t, "heartbeat  0")
		}
		for n := range 3000 {
			h.tell(t, "stop", fmt.Sprint(n))
			time.Sleep(10 * time.Millisecond)
			if n == 2500 { // far behind by now, and reads on
				var last string
				for msg := range slow.all() {
					last = msg.GetType() + " " + msg.GetMessage()
				}
				if last != "bye slow_reader" || fault.ReasonOf(slow.result) != faultv1.Reason_REASON_RATE_LIMITED {
					t.Errorf("a slow reader's last message is %q, and its end %v", last, slow.result)
				}
			}
		}
		<-deaf.ended // without ever reading
		if fault.ReasonOf(deaf.result) != faultv1.Reason_REASON_RATE_LIMITED {
			t.Errorf("a reader who reads nothing ended with %v", deaf.result)
		}
		time.Sleep(time.Second)
		_ = quick.leave()
		sequence := int64(0)
		for msg := range quick.all() {
			if msg.GetType() == "stop" {
				if sequence++; msg.GetSequence() != sequence {
					t.Fatalf("%d after %d", msg.GetSequence(), sequence-1)
				}
			}
		}
		if sequence != 3000 {
			t.Errorf("the others heard %d", sequence)
		}
	})
}

// all that is shown until the call ends.
func (s *glass) all() func(yield func(*adminv1.StreamResponse) bool) {
	return func(yield func(*adminv1.StreamResponse) bool) {
		for {
			select {
			case msg := <-s.shown:
				if !yield(msg) {
					return
				}
				continue
			default:
			}
			select {
			case msg := <-s.shown:
				if !yield(msg) {
					return
				}
			case <-s.ended:
				if len(s.shown) == 0 {
					return
				}
			}
		}
	}
}

func TestTheEndOfAKeyIsTheLastWordAndNothingComesAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHall(t)
		defer h.stop()
		s := h.watch(t, &adminv1.StreamRequest{}, 10)
		s.want(t, "heartbeat  0")
		s.cancel(fault.New(faultv1.Reason_REASON_UNAUTHENTICATED, "Invalid API key"))
		h.tell(t, "stop", "secret")
		s.wantLast(t, "bye signed_out 0", faultv1.Reason_REASON_UNAUTHENTICATED)
	})
}

func TestAReplicaThatStopsSaysSoAndTakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHall(t)
		defer h.stop()
		s, deaf := h.watch(t, &adminv1.StreamRequest{}, 10), h.watch(t, &adminv1.StreamRequest{}, 0)
		s.want(t, "heartbeat  0")
		began := time.Now()
		h.Leave(t.Context())
		if took := time.Since(began); took != byeWithin {
			t.Errorf("it waited %s for one who does not read", took)
		}
		s.wantLast(t, "bye draining 0", faultv1.Reason_REASON_UNAVAILABLE)
		<-deaf.ended
		late := h.watch(t, &adminv1.StreamRequest{}, 10)
		<-late.ended
		if fault.ReasonOf(late.result) != faultv1.Reason_REASON_UNAVAILABLE {
			t.Errorf("a late one ended with %v", late.result)
		}
	})
}

func TestAStreamEndsByAgeSoThatDashboardsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openHall(t)
		defer h.stop()
		h.MaxStreamAge = time.Minute
		ends := map[time.Duration]bool{}
		for range 5 {
			began := time.Now()
			s := h.watch(t, &adminv1.StreamRequest{}, 10)
			<-s.ended
			age := time.Since(began)
			ends[age] = true
			if age < 54*time.Second || age > time.Minute {
				t.Errorf("ended after %s", age)
			}
			s.want(t, "heartbeat  0", "heartbeat  0", "heartbeat  0", "heartbeat  0")
			s.wantLast(t, "bye age 0", 0)
		}
		if len(ends) < 2 {
			t.Error("all end at the same age")
		}
	})
}

func TestAStreamWithoutACustomerIsDenied(t *testing.T) {
	ctx := auth.With(t.Context(), auth.Caller{Kind: accessv1.Caller_CALLER_VIEWER})
	err := New(Config{Bus: bus.New()}).Stream(&adminv1.StreamRequest{}, &glass{ctx: ctx})
	if fault.ReasonOf(err) != faultv1.Reason_REASON_PERMISSION_DENIED {
		t.Errorf("got %v", err)
	}
}
