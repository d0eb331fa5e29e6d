package notice

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/imds"
)

func TestAStopIsKeptAndSpread(t *testing.T) {
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	file := filepath.Join(t.TempDir(), "state", "policy.json")
	stop := &agentv1.SafetyStop{Reason: "month-end", IncludeInterruptions: true, Since: timestamppb.New(time.Unix(1e9, 0))}
	leader, standby := OpenPolicies(file, log), OpenPolicies(filepath.Join(t.TempDir(), "p.json"), log)
	if leader.Stop() != nil {
		t.Fatal("a stop holds that nobody ordered")
	}
	leader.SetStop(proto.CloneOf(stop))
	standby.Heard(leader.Said())
	for name, p := range map[string]*Policies{"leader": leader, "standby": standby, "leader's next process": OpenPolicies(file, log)} {
		if diff := cmp.Diff(stop, p.Stop(), protocmp.Transform()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if now := p.Current(); now.GetCordon() || now.GetDrain() || !now.GetParameters().GetForce() {
			t.Errorf("%s acts on interruptions: %v", name, now)
		}
	}
	gentle := proto.CloneOf(stop)
	gentle.IncludeInterruptions = false
	leader.SetStop(gentle)
	if now := leader.Current(); !now.GetCordon() || !now.GetDrain() {
		t.Fatalf("interruptions are not included, and yet %v", now)
	}
	leader.SetStop(nil)
	standby.Heard(`{"cordon":true,"drain":true}`) // of a leader that never heard of stops
	if standby.Stop() == nil {
		t.Fatal("a line that says nothing of stops lifted one")
	}
	leader.SetPolicy(&agentv1.InterruptionPolicy{Cordon: true})
	standby.Heard(leader.Said())
	for name, p := range map[string]*Policies{"leader": leader, "standby": standby, "leader's next process": OpenPolicies(file, log)} {
		if p.Stop() != nil || !p.Current().GetCordon() {
			t.Errorf("%s: still stopped by %v", name, p.Stop())
		}
	}
}

func TestAStopThatCannotBeReadHolds(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "safety-stop.json"), []byte(`{"reason`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := OpenPolicies(filepath.Join(dir, "policy.json"), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if !strings.Contains(p.Stop().GetReason(), "cannot be read") || p.Stop().GetIncludeInterruptions() {
		t.Fatalf("stop %v", p.Stop())
	}
	p.SetStop(nil)
	if again := OpenPolicies(p.file, p.log); again.Stop() != nil {
		t.Fatalf("lifted, it holds after a restart: %v", again.Stop())
	}
}

func TestTheLineOnTheLeaseIsOneThatOlderAgentsRead(t *testing.T) {
	p := OpenPolicies(filepath.Join(t.TempDir(), "policy.json"), slog.New(slog.DiscardHandler))
	p.SetStop(&agentv1.SafetyStop{Reason: "x"})
	policy, err := decode(p.Said())
	if err != nil || !policy.GetCordon() || !policy.GetDrain() || !json.Valid([]byte(p.Said())) {
		t.Fatalf("%v, %v in %s", policy, err, p.Said())
	}
}

func TestANoticeIsActedOnWhenTheStopIsLifted(t *testing.T) {
	w := newWorld(t, aNode(nil))
	w.policy = &agentv1.InterruptionPolicy{}
	r := reading("b1", aNotice(imds.Interruption, 100*time.Second))
	next, err := w.keeper.write(t.Context(), r)
	if err != nil || w.node().Spec.Unschedulable {
		t.Fatalf("cordoned: %v, %v", w.node().Spec.Unschedulable, err)
	}
	if next > againAfterStop {
		t.Fatalf("looks again after %s", next)
	}
	w.policy = byDefault()
	if !w.write(r).Spec.Unschedulable {
		t.Fatal("not cordoned though nothing forbids it")
	}
}
