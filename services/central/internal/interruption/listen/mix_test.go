package listen

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/cloudoptim/cloudoptim/pkg/awsfault"
	"github.com/cloudoptim/cloudoptim/services/central/internal/interruption/notice"
)

// The property of the listener, under any mix of faults of AWS and of the intake:
// each message of ours is committed, once; and the spy sees nothing deleted that
// was not committed, foreign or unreadable.
func TestUnderAnyMixOfFaultsNothingIsLostAndNothingIsDeletedTooEarly(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, seed)
			random := rand.New(rand.NewPCG(seed, 99))
			var faults []awsfault.Rule
			for _, rule := range []awsfault.Rule{
				{Fault: awsfault.Duplicate, Rate: .3},
				{Fault: awsfault.Reorder, Rate: .3},
				{Fault: awsfault.Delay, Rate: .2, Delay: 200 * time.Millisecond},
				{Fault: awsfault.Throttle, Rate: .1},
				{Fault: awsfault.StaleReceipt, Rate: .3},
				{Fault: awsfault.LostResponse, Action: "ReceiveMessage", Rate: .1},
				{Fault: awsfault.LostResponse, Action: "DeleteMessageBatch", Rate: .2},
				{Fault: awsfault.AccessDenied, Action: "ReceiveMessage", Rate: .1},
			} {
				if random.IntN(3) > 0 {
					faults = append(faults, rule)
				}
			}
			t.Logf("%+v", faults)
			w.rules.Set(faults...)
			w.intake.fault, w.intake.late = faultyIntake(seed), faultyIntake(seed+1)
			queue := w.queue(false, nil)
			ours, theirs := fleet("our", 120), fleet("their", 60)
			w.intake.verdict = func(instance string) Verdict {
				if instance[:7] == "i-their" {
					return Foreign
				}
				return Taken
			}
			bodies := slices.Concat(spots(ours), spots(theirs), spots(ours[:30]), []string{"poison", "{}", `{"Event":"autoscaling:TEST_NOTIFICATION"}`})
			random.Shuffle(len(bodies), func(i, j int) { bodies[i], bodies[j] = bodies[j], bodies[i] })
			first := w.listen()
			w.listen()
			w.send(queue, bodies[:100]...)
			await(t, "some to be taken", func() bool { return len(w.intake.taken()) > 20 })
			first() // one of two replicas goes
			w.send(queue, bodies[100:]...)
			await(t, "ours to be taken", func() bool { return len(w.intake.taken()) == len(ours) })
			w.rules.Set()
			w.intake.set(func(i *intake) { i.fault, i.late = nil, nil })
			w.awaitSize(queue, 0)
			w.requireTakenOnce(ours)
		})
	}
}

// faultyIntake fails one Take in six, panics in another, and is slow in a third.
func faultyIntake(seed uint64) func([]notice.Notice) error {
	random := rand.New(rand.NewPCG(seed, 7))
	var mu sync.Mutex
	draw := func() int {
		mu.Lock()
		defer mu.Unlock()
		return random.IntN(6)
	}
	return func([]notice.Notice) error {
		switch draw() {
		case 0:
			return errors.New("the database is away")
		case 1:
			panic("a bug")
		case 2:
			time.Sleep(200 * time.Millisecond)
		}
		return nil
	}
}

// recordSpans gives spans ids until the test ends.
func recordSpans(t *testing.T) {
	t.Helper()
	before := otel.GetTracerProvider()
	otel.SetTracerProvider(sdktrace.NewTracerProvider())
	t.Cleanup(func() { otel.SetTracerProvider(before) })
}
