package admin

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"

	accessv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/access/v1"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/bus"
)

// screen is a dashboard that keeps what it is sent, and can stop reading.
type screen struct {
	grpc.ServerStream
	ctx   context.Context // grpc.ServerStream hands its context out by method
	shown chan *adminv1.StreamResponse
}

func (s *screen) Context() context.Context { return s.ctx }

func (s *screen) Send(msg *adminv1.StreamResponse) error {
	s.shown <- msg
	return nil
}

// watch opens a customer's stream; end ends it and returns its error.
func watch(t *testing.T, b *bus.Bus, customer uuid.UUID, depth int) (s *screen, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(auth.With(t.Context(), auth.Caller{Kind: accessv1.Caller_CALLER_VIEWER, CustomerID: some(customer)}))
	s = &screen{ctx: ctx, shown: make(chan *adminv1.StreamResponse, depth)}
	done := make(chan error, 1)
	go func() {
		done <- New(Config{Bus: b, Log: slog.New(slog.DiscardHandler)}).Stream(&adminv1.StreamRequest{}, s)
	}()
	return s, func() error { cancel(); return <-done }
}

func TestADashboardHearsTheHeartbeatAtOnceAndEveryFifteenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, end := watch(t, bus.New(), uuid.New(), 100)
		began := time.Now()
		var at []time.Duration
		for range 4 {
			if msg := <-s.shown; msg.GetType() != "heartbeat" || msg.GetMessage() != "" {
				t.Fatalf("got %v", msg)
			}
			at = append(at, time.Since(began))
		}
		if diff := cmp.Diff([]time.Duration{0, 15 * time.Second, 30 * time.Second, 45 * time.Second}, at); diff != "" {
			t.Error(diff)
		}
		if fault.ReasonOf(end()) != faultv1.Reason_REASON_CANCELLED {
			t.Error("the stream does not end with its caller")
		}
	})
}

func TestADashboardHearsItsCustomersNewsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, mine := bus.New(), uuid.New()
		s, end := watch(t, b, mine, 100)
		<-s.shown
		for _, customer := range []uuid.UUID{mine, uuid.New(), mine} {
			if err := b.PublishDashboard(t.Context(), customer, &adminv1.StreamResponse{Type: "task_update", Message: customer.String()}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Publish(t.Context(), "dashboard:"+mine.String(), []byte("\xff")); err != nil { // of another build, perhaps
			t.Fatal(err)
		}
		synctest.Wait()
		if len(s.shown) != 2 {
			t.Fatalf("%d messages, want 2", len(s.shown))
		}
		for range 2 {
			if msg := <-s.shown; msg.GetMessage() != mine.String() || msg.GetTimestamp() == nil {
				t.Errorf("got %v", msg)
			}
		}
		_ = end()
	})
}

func TestADashboardThatFellBehindIsToldWithTheNextHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, mine := bus.New(), uuid.New()
		s, end := watch(t, b, mine, 0)
		<-s.shown
		for range 100 {
			if err := b.PublishDashboard(t.Context(), mine, &adminv1.StreamResponse{Type: "task_update"}); err != nil {
				t.Fatal(err)
			}
		}
		var news, beats int
		for beats < 2 {
			msg := <-s.shown
			if msg.GetType() != "heartbeat" {
				news++
				continue
			}
			beats++
			if told := strings.Contains(msg.GetMessage(), "missed"); told != (beats == 1) {
				t.Errorf("heartbeat %d says %q", beats, msg.GetMessage())
			}
		}
		if news < 64 || news > 66 { // 64 waiting, one in hand
			t.Errorf("%d messages came", news)
		}
		_ = end()
	})
}

func TestAStreamWithoutACustomerIsDenied(t *testing.T) {
	ctx := auth.With(t.Context(), auth.Caller{Kind: accessv1.Caller_CALLER_VIEWER})
	err := New(Config{Bus: bus.New()}).Stream(&adminv1.StreamRequest{}, &screen{ctx: ctx})
	if fault.ReasonOf(err) != faultv1.Reason_REASON_PERMISSION_DENIED {
		t.Errorf("got %v", err)
	}
}
