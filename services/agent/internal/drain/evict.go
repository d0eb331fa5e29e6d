package drain

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// verdict is what an answer of the API server means for a pod.
type verdict int

const (
	accepted  verdict = iota // it will go
	vanished                 // that UID is not there any more
	refused                  // not now: a budget, a namespace that ends, …
	pressure                 // the API server wants rest; says nothing of the pod
	forbidden                // we may not
	broken                   // 5xx, time-out, no connection
)

// answer is the outcome of one call about one pod.
type answer struct {
	uid    types.UID
	force  bool
	final  bool // no grace was left: the pod is gone when this was accepted
	kind   verdict
	reason string
	rest   time.Duration // Retry-After, 0 if none
}

// call runs one request beside the loop; its answer comes back by channel.
// The pod is handed over: the loop replaces st.pod meanwhile.
func (d *Drain) call(ctx context.Context, st *podState, ask request, grace *int64) {
	st.inCall = true
	st.attempts++
	d.calls++
	pod, late, rank := st.pod, st.late, d.rank()
	go func() {
		ans := d.ask(ctx, rank, func(ctx context.Context) answer {
			if late {
				if err := d.sameNode(ctx); err != nil {
					return answer{kind: broken, reason: brief(err.Error())}
				}
			}
			return ask(ctx, pod, grace)
		})
		ans.uid = pod.UID
		count(ctx, ans)
		d.answers <- ans
	}()
}

// request is evictPod or deletePod.
type request func(ctx context.Context, pod *corev1.Pod, grace *int64) answer

// ask waits for a turn among the calls of all drains. The time-out counts from
// there, and whether we lead is asked there: both might be over by then.
func (d *Drain) ask(ctx context.Context, rank Rank, do func(context.Context) answer) answer {
	if err := d.exec.calls.Enter(ctx, rank); err != nil {
		return answer{kind: broken, reason: brief(err.Error())}
	}
	defer d.exec.calls.Leave()
	if !d.exec.leading() {
		return answer{kind: broken, reason: ErrNotLeading.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return do(ctx)
}

// sameNode makes sure that a pod which came after the cordon is on the node that
// was cordoned: its name may be another's by now, and pods are seen before nodes.
func (d *Drain) sameNode(ctx context.Context) error {
	node, err := d.exec.Client.CoreV1().Nodes().Get(ctx, d.name(), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("reading node %s: %w", d.name(), err)
	}
	if node.UID != d.node.UID {
		return fmt.Errorf("node %s is another node now", d.name())
	}
	return nil
}

// evictPod asks once. The typed client would sleep inside the call and hide the
// budget's answer: it honours Retry-After by itself, up to ten times.
func (d *Drain) evictPod(ctx context.Context, pod *corev1.Pod, grace *int64) answer {
	body := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace},
		DeleteOptions: deleteOptions(pod, grace),
	}
	err := d.exec.Client.CoreV1().RESTClient().Post().
		Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("eviction").
		MaxRetries(0).Body(body).Do(ctx).Error()
	return judge(err)
}

// deletePod goes past the budgets; the UID still guards a replaced pod.
func (d *Drain) deletePod(ctx context.Context, pod *corev1.Pod, grace *int64) answer {
	err := d.exec.Client.CoreV1().RESTClient().Delete().
		Namespace(pod.Namespace).Resource("pods").Name(pod.Name).
		MaxRetries(0).Body(deleteOptions(pod, grace)).Do(ctx).Error()
	ans := judge(err)
	ans.force, ans.final = true, grace != nil && *grace == 0
	return ans
}

func deleteOptions(pod *corev1.Pod, grace *int64) *metav1.DeleteOptions {
	uid := pod.UID
	return &metav1.DeleteOptions{
		GracePeriodSeconds: grace,
		Preconditions:      &metav1.Preconditions{UID: &uid},
	}
}

// judge reads the error of an eviction. The API server says the same code for
// different things, so causes and kinds are looked at as well.
func judge(err error) answer {
	if err == nil {
		return answer{kind: accepted}
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return answer{kind: broken, reason: brief(err.Error())}
	}
	s := status.Status()
	rest := retryAfter(err)
	if name, ok := budgetOf(s); ok {
		return answer{kind: refused, reason: "pdb " + name, rest: rest}
	}
	switch {
	case s.Code == http.StatusNotFound, s.Code == http.StatusConflict && strings.Contains(s.Message, "UID"):
		return answer{kind: vanished}
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return answer{kind: refused, reason: "namespace-terminating", rest: rest}
	}
	return judgeCode(s, rest)
}

// judgeCode is for answers whose code says all there is to know.
func judgeCode(s metav1.Status, rest time.Duration) answer {
	reason := brief(fmt.Sprintf("%d %s", s.Code, s.Message))
	switch {
	case s.Code == http.StatusTooManyRequests:
		return answer{kind: pressure, reason: "api-pressure", rest: max(rest, time.Second)}
	case s.Code == http.StatusInternalServerError && strings.Contains(s.Message, "more than one PodDisruptionBudget"):
		return answer{kind: refused, reason: "several-pdbs"}
	case s.Code == http.StatusForbidden || s.Code == http.StatusUnauthorized:
		return answer{kind: forbidden, reason: "forbidden: " + brief(s.Message)}
	case s.Code == http.StatusConflict || s.Code >= 500:
		return answer{kind: broken, reason: reason, rest: rest}
	}
	return answer{kind: refused, reason: reason, rest: rest}
}

var budgetName = regexp.MustCompile(`^The disruption budget (\S+) `)

// budgetOf names the budget that refused. A budget's refusal may be a 429 or,
// when its own counts are off, a 403.
func budgetOf(s metav1.Status) (string, bool) {
	if s.Details == nil {
		return "", false
	}
	for _, cause := range s.Details.Causes {
		if cause.Type != policyv1.DisruptionBudgetCause {
			continue
		}
		if m := budgetName.FindStringSubmatch(cause.Message); m != nil {
			return m[1], true
		}
		return "unnamed", true
	}
	if s.Code == http.StatusForbidden && s.Details.Kind == "poddisruptionbudget" {
		return s.Details.Name, true // servers before 1.34 send no cause here
	}
	return "", false
}

func retryAfter(err error) time.Duration {
	seconds, ok := apierrors.SuggestsClientDelay(err)
	if !ok {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, longestRest)
}

// belowHTTP tells failures to reach the API server; none of them is final.
func belowHTTP(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	var network net.Error
	var request *url.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &network) || errors.As(err, &request) ||
		strings.Contains(err.Error(), "client rate limiter") // an error of no type
}

func brief(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}
