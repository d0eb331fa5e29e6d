package bus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"pgregory.net/rapid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
)

func TestSubscribersGetTheirTopicOnly(t *testing.T) {
	b := New()
	one, leave := b.Subscribe("a:1")
	defer leave()
	all := b.Listen("a:*")
	defer all.Close()
	for _, topic := range []string{"a:1", "a:2", "b:1"} {
		if err := b.Publish(t.Context(), topic, []byte(topic)); err != nil {
			t.Fatal(err)
		}
	}
	if got := []string{receive(t, one), receive(t, all.C), receive(t, all.C)}; !cmp.Equal(got, []string{"a:1", "a:1", "a:2"}) {
		t.Errorf("got %q", got)
	}
	if len(one) != 0 || len(all.C) != 0 {
		t.Error("a message came to a subscriber of another topic")
	}
}

func TestAClosedSubscriptionHearsNothingAndIsForgotten(t *testing.T) {
	b := New()
	for _, topic := range []string{"a", "a*"} {
		s := b.Listen(topic)
		s.Close()
		s.Close()
		if err := b.Publish(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
		if len(s.C) != 0 {
			t.Errorf("%s: a closed subscription still hears", topic)
		}
	}
	if n := len(b.hub.exact) + len(b.hub.prefix); n != 0 {
		t.Errorf("%d topics are still held", n)
	}
}

func TestASlowSubscriberLosesMessagesAndIsToldHowMany(t *testing.T) {
	b := New()
	s := b.Listen("a")
	defer s.Close()
	for range buffered + 7 {
		if err := b.Publish(t.Context(), "a", nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.C) != buffered || s.Missed() != 7 {
		t.Errorf("holds %d and says that %d are missed, want %d and 7", len(s.C), s.Missed(), buffered)
	}
}

func TestDashboardsHearTheirCustomerAndThePlatformHearsAll(t *testing.T) {
	b := New()
	mine, theirs := uuid.New(), uuid.New()
	own := b.ListenDashboard(uuid.NullUUID{UUID: mine, Valid: true})
	all := b.ListenDashboard(uuid.NullUUID{})
	want := &adminv1.StreamResponse{Type: "optimization_complete", Status: "success", Savings: proto.Float64(800)}
	if err := b.PublishDashboard(t.Context(), mine, want); err != nil {
		t.Fatal(err)
	}
	if err := b.PublishDashboard(t.Context(), theirs, &adminv1.StreamResponse{Type: "cluster_state"}); err != nil {
		t.Fatal(err)
	}
	got, err := Dashboard([]byte(receive(t, own.C)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
	if len(own.C) != 0 || len(all.C) != 2 {
		t.Errorf("the customer has %d more, the platform has %d; want 0 and 2", len(own.C), len(all.C))
	}
	if _, err := Dashboard([]byte("\xff")); err == nil {
		t.Error("rubbish was read as a message")
	}
}

func TestTheBusRunsUntilItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- New().Run(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestTheLimiterLetsThroughWhatItPromises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New().Limiter()
		for i := range 60 {
			if _, ok := l.Allow(t.Context(), "k", 60); !ok {
				t.Fatalf("call %d of 60 was refused", i+1)
			}
		}
		wait, ok := l.Allow(t.Context(), "k", 60)
		if ok || wait != time.Second {
			t.Fatalf("call 61 waits %s, want exactly 1 s", wait)
		}
		time.Sleep(wait)
		if _, ok := l.Allow(t.Context(), "k", 60); !ok {
			t.Error("waiting as told did not help")
		}
		if _, ok := l.Allow(t.Context(), "k", 60); ok {
			t.Error("refused calls or waiting gave away more than one call")
		}
		if _, ok := l.Allow(t.Context(), "k", 0); !ok {
			t.Error("0 does not mean: no limit")
		}
	})
}

func TestInAnyWindowTheLimiterLetsThroughAtMostTheBurstAndTheRefill(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		perMinute := rapid.IntRange(1, 600).Draw(rt, "per minute")
		pauses := rapid.SliceOfN(rapid.Int64Range(0, int64(90*time.Second)), 1, 200).Draw(rt, "pauses")
		synctest.Test(t, func(*testing.T) {
			l := New().Limiter()
			begin, allowed := time.Now(), 0
			for _, pause := range pauses {
				time.Sleep(time.Duration(pause))
				for range 5 {
					if wait, ok := l.Allow(context.Background(), "k", perMinute); ok {
						allowed++
					} else if wait <= 0 || wait > time.Minute {
						rt.Fatalf("told to wait %s", wait)
					}
				}
				interval := time.Minute / time.Duration(perMinute)
				if most := perMinute + int(time.Since(begin)/interval); allowed > most {
					rt.Fatalf("%d calls in %s at %d a minute, at most %d", allowed, time.Since(begin), perMinute, most)
				}
			}
		})
	})
}

func TestTheLimiterForgetsKeysThatAreIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New().Limiter()
		for range limitSweep {
			l.Allow(t.Context(), uuid.NewString(), 60)
		}
		time.Sleep(2 * time.Second)
		l.Allow(t.Context(), "k", 60)
		if len(l.full) != 1 {
			t.Errorf("%d keys are held after all but one went idle", len(l.full))
		}
	})
}

func TestAWatcherHearsEverythingUnderItsPrefixAndWakesStayHere(t *testing.T) {
	b := New()
	var heard []string
	stop := b.Watch("tasks:", func(topic string, payload []byte) { heard = append(heard, topic+"="+string(payload)) })
	for i := range 1000 { // nothing is queued, so nothing overflows
		if err := b.Publish(t.Context(), "tasks:a", nil); err != nil {
			t.Fatal(i, err)
		}
	}
	_ = b.Publish(t.Context(), "session:a", []byte("1"))
	b.Wake("tasks:b")
	stop()
	_ = b.Publish(t.Context(), "tasks:a", nil)
	if len(heard) != 1001 || heard[1000] != "tasks:b=" {
		t.Fatalf("heard %d messages, the last %q", len(heard), heard[len(heard)-1])
	}
}
