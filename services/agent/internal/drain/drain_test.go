package drain

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// params is short for the task's parameters.
type params = fleetv1.DrainNodeParameters

func TestF16EachAnswerOfTheEvictionAPIIsUnderstood(t *testing.T) {
	busy := apierrors.NewTooManyRequests("too many requests, please try again later", 1)
	needs := "The disruption budget web needs 3 healthy pods and has 3 currently"
	for name, tc := range map[string]struct {
		answer func() *http.Response
		reason string        // shown while it lasts
		apart  time.Duration // least time between two calls
	}{
		"a budget that is used up": {func() *http.Response { return budgetSays(429, 0, needs) }, "pdb web", 100 * time.Millisecond},
		"a budget whose controller is behind": {func() *http.Response {
			return budgetSays(429, 10, "The disruption budget web is still being processed by the server.")
		}, "pdb web", 10 * time.Second},
		"a budget with negative counts": {func() *http.Response {
			return budgetSays(403, 0, "The disruption budget web does not allow evicting pods currently: x")
		}, "pdb web", 100 * time.Millisecond},
		"two budgets on one pod": {func() *http.Response {
			return refusal(&apierrors.StatusError{ErrStatus: metav1.Status{Status: "Failure", Code: 500, Message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."}})
		}, "several-pdbs", 100 * time.Millisecond},
		"an API server that wants rest": {func() *http.Response { return refusal(busy) }, "api-pressure", time.Second},
		"a budget that could not be written": {func() *http.Response {
			return refusal(apierrors.NewTimeoutError("couldn't update PodDisruptionBudget", 10))
		}, "504", 10 * time.Second},
		"a server that is overloaded":   {func() *http.Response { return refusal(apierrors.NewServiceUnavailable("x")) }, "503", 100 * time.Millisecond},
		"a namespace that ends":         {namespaceEnds, "namespace-terminating", 100 * time.Millisecond},
		"a connection that is refused":  {func() *http.Response { return refuseConnection }, "connection refused", 100 * time.Millisecond},
		"a call that is never answered": {func() *http.Response { return hang }, "deadline exceeded", 3 * time.Second},
		"a conflict that is not about the UID": {func() *http.Response {
			return refusal(apierrors.NewConflict(podsResource, "web", errors.New("the object has been modified")))
		}, "409", 100 * time.Millisecond},
		"a webhook's refusal": {func() *http.Response { return refusal(apierrors.NewBadRequest("admission webhook denied")) }, "400", 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, pod("web"), pod("free"))
				const refusals = 6
				c.answers["web"] = func(attempt int) *http.Response {
					if attempt <= refusals {
						return tc.answer()
					}
					return nil
				}
				d, out := c.drain(&params{}, 5*time.Minute)
				if out.Status != Success {
					t.Fatalf("ended as %v", out)
				}
				calls := c.asked("evict", "web")
				if len(calls) != refusals+1 {
					t.Fatalf("%d calls, want %d: one for each answer", len(calls), refusals+1)
				}
				for i := 1; i < len(calls); i++ {
					if gap := calls[i].at.Sub(calls[i-1].at); gap < tc.apart || gap > tc.apart+12*time.Second {
						t.Fatalf("call %d came %s after the one before", i, gap)
					}
				}
				if n := len(c.asked("evict", "free")); n != 1 {
					t.Fatalf("the other pod was evicted %d times", n)
				}
				requireState(t, d, "web", gone, "")
			})
			synctest.Test(t, func(t *testing.T) { // and one that never ends
				c := newCluster(t, pod("web"))
				c.answers["web"] = func(int) *http.Response { return tc.answer() }
				d, out := c.drain(&params{}, 30*time.Second)
				if out.Status != Timeout || d.phase != "blocked" {
					t.Fatalf("ended as %v, phase %s", out, d.phase)
				}
				if got := d.Report().GetPods()[0].GetReason(); !strings.Contains(got, tc.reason) {
					t.Fatalf("reason %q, want %q", got, tc.reason)
				}
				if !strings.Contains(out.Error, "ns/web") {
					t.Fatalf("the error names no pod: %s", out.Error)
				}
			})
		})
	}
}

func namespaceEnds() *http.Response {
	err := apierrors.NewForbidden(podsResource, "web", errors.New("being terminated"))
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	return refusal(err)
}

func TestF20APodThatIsNotThereAnyMoreIsGone(t *testing.T) {
	for name, answer := range map[string]*apierrors.StatusError{
		"not found":   apierrors.NewNotFound(podsResource, "web"),
		"another UID": apierrors.NewConflict(podsResource, "web", errors.New("the UID in the precondition (a) does not match the UID in record (b)")),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, pod("web"))
				c.answers["web"] = func(int) *http.Response {
					time.AfterFunc(2*time.Second, func() { c.take("web") }) // the informer is late
					return refusal(answer)
				}
				d, out := c.drain(&params{}, time.Minute)
				if out.Status != Success || len(c.asked("evict", "web")) != 1 {
					t.Fatalf("%v after %d calls", out, len(c.calls))
				}
				requireState(t, d, "web", gone, "")
			})
		})
	}
}

func TestMissingRightEndsTheDrainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("web"))
		c.answers["web"] = func(int) *http.Response {
			return refusal(apierrors.NewForbidden(podsResource, "web", errors.New(`cannot create resource "pods/eviction"`)))
		}
		start := time.Now()
		_, out := c.drain(&params{}, 10*time.Minute)
		if out.Status != Failed || !strings.Contains(out.Error, "pods/eviction") || time.Since(start) > time.Minute {
			t.Fatalf("%v after %s", out, time.Since(start))
		}
	})
}

func TestF17PodsThatStayAreReportedWithTheirReason(t *testing.T) {
	for name, tc := range map[string]struct {
		pod    *corev1.Pod
		params *params
		state  string
		reason string
		status string
	}{
		"a DaemonSet's":       {pod("p", ownedBy("DaemonSet")), &params{}, skipped, "daemonset", Success},
		"a mirror":            {pod("p", annotated(corev1.MirrorPodAnnotationKey, "x")), &params{}, skipped, "mirror", Success},
		"a finished one":      {pod("p", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), &params{}, skipped, "finished", Success},
		"a failed one":        {pod("p", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), &params{}, skipped, "finished", Success},
		"ours":                {pod("p", annotated("cloudoptim.io/do-not-disrupt", "true")), &params{}, blocked, "do-not-disrupt cloudoptim.io/do-not-disrupt", Timeout},
		"karpenter's":         {pod("p", annotated("karpenter.sh/do-not-disrupt", "true")), &params{}, blocked, "do-not-disrupt karpenter.sh/do-not-disrupt", Timeout},
		"the autoscaler's":    {pod("p", annotated("cluster-autoscaler.kubernetes.io/safe-to-evict", "false")), &params{}, blocked, "do-not-disrupt cluster-autoscaler.kubernetes.io/safe-to-evict", Timeout},
		"with local storage":  {pod("p", withEmptyDir), &params{KeepLocalStorage: true}, blocked, "local-storage", Failed},
		"with a local volume": {pod("p", withLocalVolume), &params{KeepLocalStorage: true}, blocked, "local-storage", Failed},
		"kept even by force":  {pod("p", withEmptyDir), &params{KeepLocalStorage: true, Force: true}, blocked, "local-storage", Failed},
		"already on its way":  {pod("p", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Now().Add(time.Hour)} }), &params{}, terminating, "", Timeout},
		"a static pod's node": {pod("p", ownedBy("Node"), annotated(corev1.MirrorPodAnnotationKey, "x")), &params{Force: true}, skipped, "mirror", Success},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, tc.pod, pod("other"))
				d, out := c.drain(tc.params, time.Minute)
				if out.Status != tc.status || len(c.asked("evict", "p"))+len(c.asked("delete", "p")) != 0 {
					t.Fatalf("%v, calls %v", out, c.calls)
				}
				requireState(t, d, "p", tc.state, tc.reason)
				requireState(t, d, "other", gone, "")
			})
		})
	}
}

func TestF17PodsThatGoThoughTheyLookSpecial(t *testing.T) {
	for name, tc := range map[string]struct {
		pod    *corev1.Pod
		params *params
	}{
		"a bare pod":                     {pod("p"), &params{}},
		"local storage":                  {pod("p", withEmptyDir), &params{}},
		"a local volume":                 {pod("p", withLocalVolume), &params{}},
		"do-not-disrupt, by force":       {pod("p", annotated("karpenter.sh/do-not-disrupt", "true")), &params{Force: true}},
		"safe to evict":                  {pod("p", annotated("cluster-autoscaler.kubernetes.io/safe-to-evict", "true")), &params{}},
		"a job's":                        {pod("p", ownedBy("Job")), &params{}},
		"one that tolerates everything":  {pod("p", toleratesAll), &params{}},
		"owned by, not controlled by DS": {pod("p", func(p *corev1.Pod) { ownedBy("DaemonSet")(p); p.OwnerReferences[0].Controller = nil }), &params{}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, tc.pod)
				d, out := c.drain(tc.params, time.Minute)
				if out.Status != Success {
					t.Fatal(out)
				}
				requireState(t, d, "p", gone, "")
			})
		})
	}
}

func toleratesAll(p *corev1.Pod) {
	p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
}

func TestF17APodThatComesBackToTheCordonedNodeIsEvictedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p", toleratesAll))
		time.AfterFunc(900*time.Millisecond, func() { c.add(pod("p-again", toleratesAll)) })
		d, out := c.drain(&params{}, time.Minute)
		if out.Status != Success || len(c.asked("evict", "p-again")) != 0 {
			t.Fatalf("%v, calls %v", out, c.calls)
		}
		requireState(t, d, "p-again", skipped, "tolerates-cordon")
	})
}

func TestPodBoundJustBeforeTheCordonIsEvictedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		time.AfterFunc(500*time.Millisecond, func() { c.add(pod("late")) })
		d, out := c.drain(&params{}, time.Minute)
		if out.Status != Success {
			t.Fatal(out)
		}
		requireState(t, d, "late", gone, "")
	})
}

func TestDrainWaitsForTheAnnotationToGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p", annotated("cloudoptim.io/do-not-disrupt", "true")))
		time.AfterFunc(20*time.Second, func() {
			c.edit("p", func(p *corev1.Pod) { p.Annotations = nil })
		})
		start := time.Now()
		_, out := c.drain(&params{}, time.Minute)
		if out.Status != Success || time.Since(start) < 20*time.Second {
			t.Fatalf("%v after %s", out, time.Since(start))
		}
	})
}

func TestCriticalPodsGoLastAndLowPriorityFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pods := []*corev1.Pod{pod("dns", withPriority(2_000_000_000)), pod("batch", withPriority(-10)), pod("web", withPriority(100)), pod("plain")}
		c := newCluster(t, pods...)
		c.stopTime = 10 * time.Second
		c.answers["web"] = func(attempt int) *http.Response {
			if attempt < 3 {
				return budgetSays(429, 0, "The disruption budget web needs 3")
			}
			return nil
		}
		_, out := c.drain(&params{}, 5*time.Minute)
		if out.Status != Success {
			t.Fatal(out)
		}
		last := c.asked("evict", "dns")[0].at
		for _, other := range []string{"batch", "web", "plain"} {
			calls := c.asked("evict", other)
			if at := calls[len(calls)-1].at; last.Sub(at) < 10*time.Second {
				t.Fatalf("dns was evicted %s after %s, which takes 10 s to stop", last.Sub(at), other)
			}
		}
	})
}

func TestEvictionsAtOnceAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for i := range 120 {
			name := fmt.Sprintf("p%03d", i)
			c.pods = append(c.pods, pod(name))
			c.answers[name] = func(int) *http.Response { time.Sleep(50 * time.Millisecond); return nil }
		}
		_, out := c.drain(&params{}, time.Minute)
		if out.Status != Success || c.most != 50 || len(c.calls) != 120 {
			t.Fatalf("%v, %d at once, %d calls", out, c.most, len(c.calls))
		}
	})
}

func TestAPressedServerIsAskedLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for i := range 100 {
			name := fmt.Sprintf("p%03d", i)
			c.pods = append(c.pods, pod(name))
			c.answers[name] = func(attempt int) *http.Response {
				time.Sleep(10 * time.Millisecond)
				if attempt == 1 {
					return refusal(apierrors.NewTooManyRequests("overloaded", 2))
				}
				return nil
			}
		}
		start := time.Now()
		_, out := c.drain(&params{}, 5*time.Minute)
		if out.Status != Success {
			t.Fatal(out)
		}
		early := slices.DeleteFunc(slices.Clone(c.calls), func(k call) bool { return k.at.Sub(start) > 2*time.Second })
		if len(early) > 50 {
			t.Fatalf("%d calls before the rest that was asked for had passed", len(early))
		}
	})
}

func TestF19GraceIsAnUpperLimit(t *testing.T) {
	for name, tc := range map[string]struct {
		own    int64
		params *params
		within time.Duration
		want   int64 // -1: the pod's own
	}{
		"no limit":                   {30, &params{}, time.Hour, -1},
		"a limit above the pod's":    {30, &params{GracePeriod: 90}, time.Hour, -1},
		"a limit below the pod's":    {600, &params{GracePeriod: 90}, time.Hour, 90},
		"the clock binds no one":     {600, &params{}, 2 * time.Minute, -1},
		"the clock binds the forced": {600, &params{Force: true}, 2 * time.Minute, 115},
		"never less than a second":   {600, &params{Force: true}, 3 * time.Second, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, pod("p", withGrace(tc.own)))
				c.drain(tc.params, tc.within)
				first := c.calls[0]
				if got := first.grace; (got == nil) != (tc.want < 0) || (got != nil && *got != tc.want) {
					t.Fatalf("grace %v, want %d", got, tc.want)
				}
			})
		})
	}
}

func TestF19ForceDeletesWhatABudgetHoldsInTimeForItsGrace(t *testing.T) {
	for name, tc := range map[string]struct {
		own    int64
		within time.Duration
		cutAt  time.Duration
		grace  int64
	}{
		"a common grace":                {30, 2 * time.Minute, 85 * time.Second, 30},
		"a grace beyond the notice":     {600, 2 * time.Minute, 55 * time.Second, 60},
		"a short grace":                 {2, 2 * time.Minute, 113 * time.Second, 2},
		"hardly any time (hibernation)": {30, 6 * time.Second, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, pod("p", withGrace(tc.own)))
				c.answers["p"] = func(int) *http.Response { return budgetSays(429, 10, "The disruption budget web is") }
				start := time.Now()
				d, out := c.drain(&params{Force: true}, tc.within)
				if out.Status != Success {
					t.Fatal(out)
				}
				deletes := c.asked("delete", "p")
				if len(deletes) != 1 || deletes[0].uid != "uid-p" || *deletes[0].grace != tc.grace {
					t.Fatalf("deletes %+v, grace %d wanted", deletes, tc.grace)
				}
				if at := deletes[0].at.Sub(start); at < tc.cutAt || at > tc.cutAt+4*time.Second {
					t.Fatalf("deleted at %s, want %s", at, tc.cutAt)
				}
				requireState(t, d, "p", gone, "forced")
			})
		})
	}
}

func TestForceLeavesPodsAloneThatWillMakeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p", withGrace(30)))
		c.stopTime = 29 * time.Second
		_, out := c.drain(&params{Force: true}, 40*time.Second)
		if out.Status != Success || len(c.asked("delete", "p")) != 0 {
			t.Fatalf("%v, calls %+v", out, c.calls)
		}
	})
}

func TestF13PodsOfASilentKubeletAreDeletedWithoutGraceOnceTheirGraceIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		c.node.Status.Conditions[0].Status = corev1.ConditionUnknown
		c.stopTime = -1 // nothing ends it but a delete without grace
		go func() {
			for len(c.lockedCalls("delete")) == 0 {
				time.Sleep(time.Second)
			}
			c.take("p")
		}()
		_, out := c.drain(&params{Force: true}, 2*time.Minute)
		deletes := c.asked("delete", "p")
		if out.Status != Success || len(deletes) != 1 || *deletes[0].grace != 0 {
			t.Fatalf("%v, deletes %+v", out, deletes)
		}
	})
}

func TestForceWithoutTheRightToDeleteKeepsTryingToEvict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("late"), pod("never"))
		c.noDelete = true
		begun := time.Now()
		held := func(until time.Duration) func(int) *http.Response {
			return func(int) *http.Response {
				if time.Since(begun) < until {
					return budgetSays(429, 0, "The disruption budget web needs")
				}
				return nil
			}
		}
		c.answers["late"], c.answers["never"] = held(100*time.Second), held(time.Hour)
		d, out := c.drain(&params{Force: true}, 2*time.Minute)
		if out.Status != Timeout || len(c.asked("delete", "never")) != 1 {
			t.Fatalf("%v, %d deletes", out, len(c.asked("delete", "never")))
		}
		requireState(t, d, "late", gone, "")
		requireState(t, d, "never", blocked, "pdb web")
	})
}

func (c *cluster) lockedCalls(verb string) []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked(verb, "p")
}

func TestF15WithoutForceNothingIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		c.answers["p"] = func(int) *http.Response { return budgetSays(429, 0, "The disruption budget web needs") }
		start := time.Now()
		d, out := c.drain(&params{}, 2*time.Minute)
		if out.Status != Timeout || len(c.asked("delete", "p")) != 0 {
			t.Fatalf("%v, calls %v", out, c.calls)
		}
		if took := time.Since(start); took != 2*time.Minute {
			t.Fatalf("ended after %s", took)
		}
		requireState(t, d, "p", blocked, "pdb web")
	})
}

func TestNodeWithoutPodsIsDrainedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		start := time.Now()
		d, out := c.drain(&params{}, time.Minute)
		if out.Status != Success || time.Since(start) > time.Second || !c.node.Spec.Unschedulable {
			t.Fatalf("%v after %s", out, time.Since(start))
		}
		if r, ok := ReadRecord(c.node); !ok || !r.Underway() {
			t.Fatalf("record %+v", r)
		}
		if err := d.Close(t.Context(), "drained", false); err != nil {
			t.Fatal(err)
		}
		if r, _ := ReadRecord(c.node); r.Underway() || !c.node.Spec.Unschedulable {
			t.Fatalf("record %+v", r)
		}
	})
}

func TestF26TheCordonOfAnotherSurvivesAFailedDrain(t *testing.T) {
	for name, before := range map[string]bool{"cordoned before": true, "not cordoned before": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, pod("p", withEmptyDir))
				c.node.Spec.Unschedulable = before
				d, out := c.drain(&params{KeepLocalStorage: true}, time.Minute)
				if out.Status != Failed {
					t.Fatal(out)
				}
				if err := d.Close(t.Context(), "failed", true); err != nil {
					t.Fatal(err)
				}
				if c.node.Spec.Unschedulable != before {
					t.Fatalf("cordoned: %v, before the drain: %v", c.node.Spec.Unschedulable, before)
				}
			})
		})
	}
}

func TestDrainThatComesTooLateTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, pod("p"))
		d, out := c.drain(&params{UncordonOnFailure: true}, -time.Second)
		if out.Status != Timeout || len(c.calls) != 0 || c.node.Spec.Unschedulable || len(c.node.Annotations) != 0 {
			t.Fatalf("%v, calls %v, node %v", out, c.calls, c.node)
		}
		if err := d.Close(t.Context(), "timeout", true); err != nil {
			t.Fatal(err)
		}
	})
}

func requireState(t *testing.T, d *Drain, name, state, reason string) {
	t.Helper()
	for _, p := range d.Report().GetPods() {
		if p.GetName() == name {
			if p.GetState() != state || p.GetReason() != reason {
				t.Fatalf("pod %s is %s (%s), want %s (%s)", name, p.GetState(), p.GetReason(), state, reason)
			}
			return
		}
	}
	t.Fatalf("the report does not know pod %s", name)
}
