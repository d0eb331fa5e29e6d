package drain

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

const neverDetached = "pv-1"

func uidConflict() *apierrors.StatusError {
	return apierrors.NewConflict(podsResource, "db-0", errors.New("the UID in the precondition (a) does not match the UID in record (b)"))
}

func budgetHolds(int) *http.Response { return budgetSays(429, 0, "The disruption budget web needs 1") }

func TestADrainBeginsWithOnePatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		c.node.Spec.Taints = []corev1.Taint{{Key: "dedicated", Effect: corev1.TaintEffectNoSchedule}}
		e := c.executor()
		e.Fence = &lease{epoch: 7}
		d := e.New(ask(&params{}, time.Minute))
		if out, err := d.Mark(t.Context()); out != nil || err != nil {
			t.Fatal(out, err)
		}
		r, ok := ReadRecord(c.node)
		if len(c.patches) != 1 || !ok || !r.Underway() || r.LeaderEpoch != 7 || !r.Deadline.Equal(d.req.Deadline) || r.Attempt != 1 ||
			!r.CordonedByUs || !r.LabelledByUs || !r.TaintedByUs {
			t.Fatalf("%d patches, record %+v", len(c.patches), r)
		}
		if !c.node.Spec.Unschedulable || c.node.Labels[corev1.LabelNodeExcludeBalancers] != "true" || len(c.node.Spec.Taints) != 2 || !tainted(c.node) {
			t.Fatalf("node %+v %v", c.node.Spec, c.node.Labels)
		}
		if len(c.calls) != 0 {
			t.Fatalf("evicted while marking: %v", c.calls)
		}
		d, _ = c.run(d)
		if rep := d.Report(); rep.GetCordonedAt() == nil || rep.GetFirstEvictionAt() == nil || rep.GetPhase() != "drained" {
			t.Fatalf("report %v", rep)
		}
		if err := d.Close(t.Context(), Blocked, true); err != nil {
			t.Fatal(err)
		}
		if c.node.Spec.Unschedulable || len(c.node.Labels) != 0 || len(c.node.Spec.Taints) != 1 || len(c.node.Annotations) != 0 {
			t.Fatalf("undone, the node is %+v %v %v", c.node.Spec, c.node.Labels, c.node.Annotations)
		}
	})
}

func TestF26OnlyWhatADrainDidIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.node.Spec.Unschedulable = true
		c.node.Labels = map[string]string{corev1.LabelNodeExcludeBalancers: "theirs"}
		d, _ := c.drain(&params{}, time.Minute)
		if r, _ := ReadRecord(c.node); r.CordonedByUs || r.LabelledByUs || !r.TaintedByUs {
			t.Fatalf("record %+v", r)
		}
		if err := d.Close(t.Context(), Blocked, true); err != nil {
			t.Fatal(err)
		}
		if !c.node.Spec.Unschedulable || c.node.Labels[corev1.LabelNodeExcludeBalancers] != "theirs" || tainted(c.node) {
			t.Fatalf("node %+v %v", c.node.Spec, c.node.Labels)
		}
	})
}

func TestADrainThatTakesOverUndoesWhatTheOtherDid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		c.answers["p"] = budgetHolds
		e := c.executor()
		first, _ := c.run(e.New(ask(&params{}, time.Second)))
		if err := first.Close(t.Context(), Superseded, false); err != nil {
			t.Fatal(err)
		}
		second, _ := c.run(e.New(ask(&params{}, time.Second)))
		if r, _ := ReadRecord(c.node); !r.CordonedByUs || !r.LabelledByUs || !r.TaintedByUs {
			t.Fatalf("record %+v", r)
		}
		if err := second.Close(t.Context(), Blocked, true); err != nil {
			t.Fatal(err)
		}
		if c.node.Spec.Unschedulable || tainted(c.node) || len(c.node.Labels) != 0 {
			t.Fatalf("node %+v %v", c.node.Spec, c.node.Labels)
		}
	})
}

func TestF13AStoppedInstancesPodsAreDeletedAtOnceWithoutGrace(t *testing.T) {
	for _, taint := range shutDown {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, pod("held"), pod("leaving"))
			c.answers["held"] = budgetHolds
			c.stopTime = -1 // no kubelet ends anything
			c.terminate("leaving")
			c.node.Spec.Taints = []corev1.Taint{{Key: taint, Effect: corev1.TaintEffectNoSchedule}}
			go c.takeWhatHasNoGrace("held", "leaving")
			start := time.Now()
			d, out := c.drain(&params{Force: true}, 2*time.Minute)
			if out.Status != Success || time.Since(start) > 10*time.Second {
				t.Fatalf("%v after %s", out, time.Since(start))
			}
			for _, name := range []string{"held", "leaving"} {
				if deletes := c.asked("delete", name); len(deletes) != 1 || *deletes[0].grace != 0 || deletes[0].uid != types.UID("uid-"+name) {
					t.Fatalf("deletes of %s: %+v", name, deletes)
				}
				requireState(t, d, name, gone, "forced")
			}
			if d.Report().GetForced() != 2 {
				t.Fatalf("report %v", d.Report())
			}
		})
	}
}

// takeWhatHasNoGrace is the API server's part: a pod without grace is gone at once.
func (c *cluster) takeWhatHasNoGrace(names ...string) {
	for len(names) > 0 {
		time.Sleep(100 * time.Millisecond)
		c.mu.Lock()
		left := slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			return slices.ContainsFunc(c.asked("delete", name), func(k call) bool { return *k.grace == 0 })
		})
		c.mu.Unlock()
		for _, name := range names {
			if !slices.Contains(left, name) {
				c.take(name)
			}
		}
		names = left
	}
}

func TestF13AKubeletThatDiesAfterTheForcedDeleteIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		c.answers["p"] = budgetHolds
		c.stopTime = -1
		go c.takeWhatHasNoGrace("p")
		time.AfterFunc(90*time.Second, func() {
			c.editNode(func(n *corev1.Node) {
				n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: corev1.TaintNodeOutOfService})
			})
		})
		_, out := c.drain(&params{Force: true}, 2*time.Minute)
		deletes := c.asked("delete", "p")
		if out.Status != Success || len(deletes) != 2 || *deletes[0].grace != 30 || *deletes[1].grace != 0 {
			t.Fatalf("%v, deletes %+v", out, deletes)
		}
	})
}

func TestF13ADeadKubeletWithoutForceIsNoLicence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		c.stopTime = -1
		c.node.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeOutOfService}}
		_, out := c.drain(&params{}, time.Minute)
		if out.Status != Timeout || len(c.asked("delete", "p")) != 0 {
			t.Fatalf("%v, calls %v", out, c.calls)
		}
	})
}

// blind sees another node than the API server has, or none.
type blind struct {
	*cluster
	node atomic.Pointer[corev1.Node]
}

func (b *blind) Node(string) (*corev1.Node, bool) { n := b.node.Load(); return n, n != nil }

func TestF13ANodeThatTheInformerDoesNotKnowYetIsNotGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		e := c.executor()
		e.View = &blind{cluster: c}
		d, out := c.run(e.New(ask(&params{Force: true}, time.Minute)))
		if out.Status != Success || d.Report().GetPhase() != "drained" || len(c.asked("delete", "p")) != 0 {
			t.Fatalf("%v, report %v", out, d.Report())
		}
		requireState(t, d, "p", gone, "")
	})
}

func TestF14APodOfTheNextNodeOfThatNameIsNeverTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("old"))
		c.answers["old"] = budgetHolds
		e, view := c.executor(), &blind{cluster: c}
		view.node.Store(c.node)
		e.View = view
		time.AfterFunc(5*time.Second, func() { // pods are seen before nodes
			c.editNode(func(n *corev1.Node) { n.UID = "another"; n.Spec = corev1.NodeSpec{}; n.Annotations = nil })
			c.take("old")
			c.add(pod("fresh"))
		})
		time.AfterFunc(15*time.Second, func() { view.node.Store(c.node) })
		d, out := c.run(e.New(ask(&params{}, time.Minute)))
		if out.Status != Success || d.Report().GetPhase() != "node_gone" {
			t.Fatalf("%v, report %v", out, d.Report())
		}
		if n := len(c.asked("evict", "fresh")) + len(c.asked("delete", "fresh")); n != 0 || c.node.Spec.Unschedulable {
			t.Fatalf("%d calls for a pod of another node, node %+v", n, c.node.Spec)
		}
	})
}

func TestF14ANodeOfAnotherInstanceIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		c.node.Spec.ProviderID = "aws:///us-east-1a/i-2"
		_, out := c.drain(&params{InstanceId: "i-1"}, time.Minute)
		if out.Status != Failed || len(c.patches)+len(c.calls) != 0 || !strings.Contains(out.Error, "i-2") {
			t.Fatalf("%v, patches %v, calls %v", out, c.patches, c.calls)
		}
	})
}

func TestF19TheMarginAndTheTasksGraceMoveTheForcedDelete(t *testing.T) {
	for name, tc := range map[string]struct {
		params *params
		own    int64
		evict  int64 // grace of the eviction, 0: the pod's own
		cutAt  time.Duration
		grace  int64
	}{
		"a margin of 20 s":                    {&params{SafetyMarginSeconds: 20}, 30, 0, 70 * time.Second, 30},
		"a margin of 20 s and a long grace":   {&params{SafetyMarginSeconds: 20}, 600, 100, 40 * time.Second, 60},
		"a limit of the task's":               {&params{GracePeriod: 10}, 600, 10, 105 * time.Second, 10},
		"more margin than there is time left": {&params{SafetyMarginSeconds: 300}, 30, 1, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, pod("p", withGrace(tc.own)))
				c.answers["p"] = budgetHolds
				tc.params.Force = true
				start := time.Now()
				_, out := c.drain(tc.params, 2*time.Minute)
				deletes := c.asked("delete", "p")
				if out.Status != Success || len(deletes) != 1 || *deletes[0].grace != tc.grace {
					t.Fatalf("%v, deletes %+v", out, deletes)
				}
				if at := deletes[0].at.Sub(start); at < tc.cutAt || at > tc.cutAt+3*time.Second {
					t.Fatalf("deleted after %s, want %s", at, tc.cutAt)
				}
				if tc.cutAt == 0 {
					return // nothing was evicted before
				}
				if g := c.asked("evict", "p")[0].grace; (g == nil) != (tc.evict == 0) || (g != nil && *g != tc.evict) {
					t.Fatalf("evicted with grace %v, want %d", g, tc.evict)
				}
			})
		})
	}
}

func TestF20APodOfTheSameNameThatReturnsIsANewPod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("db-0"))
		c.answers["db-0"] = func(attempt int) *http.Response {
			if attempt == 3 { // it was replaced, elsewhere, while we tried
				c.take("db-0")
				return refusal(uidConflict())
			}
			return budgetHolds(attempt)
		}
		d, out := c.drain(&params{Force: true}, time.Minute)
		if out.Status != Success {
			t.Fatal(out)
		}
		for _, k := range c.calls {
			if k.uid != "uid-db-0" {
				t.Fatalf("asked for %s", k.uid)
			}
		}
		if len(c.asked("evict", "db-0")) != 3 || len(c.asked("delete", "db-0")) != 0 {
			t.Fatalf("calls %v", c.calls)
		}
		requireState(t, d, "db-0", gone, "")
	})
}

func TestF21ATerminatingNamespaceIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		c.answers["p"] = func(int) *http.Response { return namespaceEnds() }
		time.AfterFunc(20*time.Second, func() { c.take("p") })
		d, out := c.drain(&params{}, time.Minute)
		if out.Status != Success || out.Error != "" {
			t.Fatal(out)
		}
		requireState(t, d, "p", gone, "")
	})
}

func TestF22AnAPIServerThatIsAwayForHalfAMinuteChangesNothing(t *testing.T) {
	outage := func(t *testing.T, from, to time.Duration, p *params) (report *fleetv1.DrainReport, out Outcome, took time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(t, pod("web"), pod("slow", withGrace(60)), pod("dns", withPriority(systemCritical)), pod("held"))
			c.stopTime = 3 * time.Second
			c.answers["held"] = budgetHolds
			start := time.Now()
			c.down = func() bool { at := time.Since(start); return at >= from && at < to }
			d, ended := c.drain(p, 2*time.Minute)
			took, out, report = time.Since(start), ended, d.Report()
		})
		report.CordonedAt, report.FirstEvictionAt = nil, nil
		for _, pod := range report.GetPods() {
			pod.Attempts = 0
		}
		return report, out, took
	}
	for name, p := range map[string]*params{"with force": {Force: true}, "without": {}} {
		t.Run(name, func(t *testing.T) {
			want, wantOut, wantTook := outage(t, 0, 0, p)
			for what, from := range map[string]time.Duration{"from the start": 0, "in the middle": 3500 * time.Millisecond, "before the cut": 70 * time.Second} {
				got, out, took := outage(t, from, from+30*time.Second, p)
				if diff := cmp.Diff(want.String(), got.String()); diff != "" || out.Status != wantOut.Status {
					t.Errorf("%s: %v instead of %v\n%s", what, out, wantOut, diff)
				}
				if took > 2*time.Minute || (wantOut.Status == Timeout && took != wantTook) {
					t.Errorf("%s: took %s instead of %s", what, took, wantTook)
				}
			}
		})
	}
}

func TestF23AResumedDrainKeepsItsDeadlineAndDoesNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("web"), pod("held"))
		c.answers["held"] = budgetHolds
		c.stopTime = 20 * time.Second
		request := ask(&params{}, time.Minute)
		ctx, kill := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, kill)
		if _, err := c.executor().New(request).Run(ctx); err == nil {
			t.Fatal("a killed drain ended")
		}
		before, _ := ReadRecord(c.node)
		begun, patches := time.Now(), len(c.patches)

		mark, _ := ReadRecord(c.node) // all that the next leader knows
		request.Deadline = mark.Deadline
		e := c.executor()
		e.Fence = &lease{epoch: 2}
		d, out := c.run(e.New(request))
		if took := time.Since(begun); out.Status != Timeout || took != 50*time.Second {
			t.Fatalf("%v after %s, 50 s were left", out, took)
		}
		after, _ := ReadRecord(c.node)
		if !after.Started.Equal(before.Started) || !after.Deadline.Equal(before.Deadline) || !after.CordonedByUs || after.LeaderEpoch != 2 {
			t.Fatalf("record %+v, before %+v", after, before)
		}
		if again := c.patches[patches:]; len(again) != 1 || strings.Contains(again[0], "unschedulable") {
			t.Fatalf("the second leader wrote %v", again)
		}
		if n := len(c.asked("evict", "web")); n != 1 {
			t.Fatalf("web was evicted %d times", n)
		}
		if !d.Report().GetCordonedAt().AsTime().Equal(before.Cordoned) && d.Report().GetCordonedAt().AsTime().After(begun) {
			t.Fatalf("cordoned at %s", d.Report().GetCordonedAt().AsTime())
		}
	})
}

func TestF26AnUncordonWhileNobodyDrainedIsAVeto(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		c.answers["p"] = budgetHolds
		request := ask(&params{}, time.Minute)
		ctx, kill := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Second, kill)
		_, _ = c.executor().New(request).Run(ctx)
		c.editNode(func(n *corev1.Node) { n.Spec.Unschedulable = false })
		d, out := c.run(c.executor().New(request))
		if err := d.Close(t.Context(), Blocked, false); err != nil {
			t.Fatal(err)
		}
		if out.Status != Failed || c.node.Spec.Unschedulable || tainted(c.node) || len(c.node.Annotations)+len(c.node.Labels) != 0 {
			t.Fatalf("%v, node %+v %v", out, c.node.Spec, c.node.Annotations)
		}
	})
}

func TestF25VolumesAreWaitedForUntilTheTasksLimitOrTheDeadline(t *testing.T) {
	for name, tc := range map[string]struct {
		limit int32
		want  time.Duration
	}{
		"the task's limit": {20, 20 * time.Second}, "the deadline": {600, time.Minute}, "no wait": {0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				c.attached = []string{neverDetached}
				start := time.Now()
				d, out := c.drain(&params{VolumeDetachSeconds: tc.limit}, time.Minute)
				if took := time.Since(start); out.Status != Success || took < tc.want || took > tc.want+time.Second {
					t.Fatalf("%v after %s, want %s", out, took, tc.want)
				}
				if got := len(d.Report().GetAttachedVolumes()); (got == 1) != (tc.limit > 0) {
					t.Fatalf("report %v", d.Report())
				}
			})
		})
	}
}

func TestANearerDeadlineIsTakenOverWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		c.answers["p"] = budgetHolds
		d := c.executor().New(ask(&params{}, 10*time.Minute))
		start := time.Now()
		time.AfterFunc(10*time.Second, func() {
			d.Hurry(start.Add(time.Minute))
			d.Hurry(start.Add(time.Hour))
		})
		_, out := c.run(d)
		if took := time.Since(start); out.Status != Timeout || took != time.Minute {
			t.Fatalf("%v after %s", out, took)
		}
	})
}

// lease is a Fence.
type lease struct {
	lost  atomic.Bool
	epoch int64
}

func (l *lease) Held() bool   { return !l.lost.Load() }
func (l *lease) Epoch() int64 { return l.epoch }

func TestF38ADrainThatLostItsLeaseWritesAndDecidesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		c.answers["p"] = budgetHolds
		e, held := c.executor(), &lease{}
		e.Fence = held
		time.AfterFunc(10*time.Second, func() { held.lost.Store(true) })
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Minute, stop)
		lost := time.Now().Add(10 * time.Second)
		d := e.New(ask(&params{Force: true}, time.Minute))
		if _, err := d.Run(ctx); err == nil {
			t.Fatal("it decided that the drain was over")
		}
		for _, k := range c.calls {
			if k.at.After(lost) {
				t.Fatalf("asked to %s %s %s after the lease was lost", k.verb, k.pod, k.at.Sub(lost))
			}
		}
		patches := len(c.patches)
		closing, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := d.Close(closing, Blocked, true); err == nil || len(c.patches) != patches {
			t.Fatalf("closed: %v, patches %v", err, c.patches)
		}
	})
}

func TestTidyTakesMarksOffNodesThatWereUncordoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		d, _ := c.drain(&params{}, time.Minute)
		e := c.executor()
		for _, change := range []func(){
			func() {}, // still under way
			func() { c.editNode(func(n *corev1.Node) { n.Spec.Unschedulable = false }) }, // a veto is the drain's to see
		} {
			change()
			if e.Tidy(t.Context()); !tainted(c.node) {
				t.Fatal("the marks of a drain under way were taken off")
			}
		}
		c.editNode(func(n *corev1.Node) { n.Spec.Unschedulable = true })
		if err := d.Close(t.Context(), Done, false); err != nil {
			t.Fatal(err)
		}
		if e.Tidy(t.Context()); !tainted(c.node) {
			t.Fatal("the marks of a drained node were taken off")
		}
		c.editNode(func(n *corev1.Node) { n.Spec.Unschedulable = false })
		if e.Tidy(t.Context()); tainted(c.node) || len(c.node.Annotations)+len(c.node.Labels) != 0 {
			t.Fatalf("left %v %v %v", c.node.Spec.Taints, c.node.Annotations, c.node.Labels)
		}
	})
}

func TestTheRecordIsReadableToPeopleAndPrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		c.drain(&params{GracePeriod: 9}, time.Minute)
		var fields map[string]any
		if err := json.Unmarshal([]byte(c.node.Annotations[RecordAnnotation]), &fields); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"task_id", "attempt", "started", "deadline", "cordoned_by_us", "labelled_by_us", "tainted_by_us", "phase", "leader_epoch"} {
			if _, ok := fields[key]; !ok {
				t.Errorf("no %s in %v", key, fields)
			}
		}
		r, _ := ReadRecord(c.node)
		if p, err := r.DecodeParameters(); err != nil || p.GetGracePeriod() != 9 {
			t.Fatalf("%v, %v", p, err)
		}
	})
}
