package drain

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
)

// cluster is an API server of one node, reached without a network so that time
// can be faked, and the View of its pods. Its answers to evictions are scripted;
// the real ones are in apitest.
type cluster struct {
	t *testing.T

	mu       sync.Mutex
	node     *corev1.Node
	pods     []*corev1.Pod
	answers  map[string]func(attempt int) *http.Response // to evictions by pod name; nil evicts
	noDelete bool                                        // the right to delete pods is missing
	calls    []call
	inCall   int
	most     int // calls at once
	patches  []string
	watchers []chan struct{}
	attached []string
	down     func() bool   // nothing is answered
	stopTime time.Duration // from eviction to gone
}

// call is one eviction or deletion that was asked for.
type call struct {
	at    time.Time
	verb  string
	pod   string
	uid   types.UID
	grace *int64
}

func newCluster(t *testing.T, pods ...*corev1.Pod) *cluster {
	return &cluster{
		t: t, pods: pods, answers: map[string]func(int) *http.Response{}, stopTime: time.Second,
		node: &corev1.Node{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Node"},
			ObjectMeta: metav1.ObjectMeta{Name: "n1", UID: "node-uid", ResourceVersion: "1"},
			Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
		},
	}
}

func pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	grace := int64(30)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "ns", UID: types.UID("uid-" + name), Annotations: map[string]string{}},
		Spec:       corev1.PodSpec{NodeName: "n1", TerminationGracePeriodSeconds: &grace},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

func ownedBy(kind string) func(*corev1.Pod) {
	yes := true
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: "o", UID: "o", Controller: &yes}}
	}
}

func withPriority(v int32) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.Priority = &v } }
func withGrace(v int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = &v }
}

func annotated(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations[key] = value }
}

func withLocalVolume(p *corev1.Pod) {
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "local"},
	}})
}

func withEmptyDir(p *corev1.Pod) {
	p.Spec.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}}
}

// executor drains the cluster's node.
func (c *cluster) executor() *Executor {
	c.t.Helper()
	client, err := kubernetes.NewForConfig(&rest.Config{
		Host: "http://api", Transport: c, QPS: 10000, Burst: 10000,
		ContentConfig: rest.ContentConfig{ContentType: "application/json"},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return &Executor{Client: client, View: c, Log: slog.New(slog.DiscardHandler)}
}

func ask(params *fleetv1.DrainNodeParameters, deadline time.Duration) Request {
	params.NodeName = "n1"
	return Request{
		TaskID: uuid.NewString(), Attempt: 1, Parameters: params, Deadline: time.Now().Add(deadline), Note: func(string, ...any) {},
	}
}

// drain runs one with the given parameters and deadline.
func (c *cluster) drain(params *fleetv1.DrainNodeParameters, deadline time.Duration) (*Drain, Outcome) {
	c.t.Helper()
	return c.run(c.executor().New(ask(params, deadline)))
}

func (c *cluster) run(d *Drain) (*Drain, Outcome) {
	c.t.Helper()
	out, err := d.Run(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return d, out
}

// RoundTrip is the network.
func (c *cluster) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	node, down := c.node, c.down != nil && c.down()
	c.mu.Unlock()
	switch {
	case down:
		return nil, errors.New("dial tcp: connection refused")
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/api/v1/nodes/"):
		if node == nil {
			return refusal(apierrors.NewNotFound(schema.GroupResource{Resource: "nodes"}, "n1")), nil
		}
		return answer200(node), nil
	case r.Method == http.MethodPatch:
		return c.patchNode(r), nil
	case r.Method == http.MethodGet && r.URL.Path == "/api/v1/pods":
		list := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
		for _, p := range c.PodsOn("n1") {
			list.Items = append(list.Items, *p)
		}
		return answer200(list), nil
	}
	return c.remove(r)
}

func (c *cluster) patchNode(r *http.Request) *http.Response {
	body, _ := io.ReadAll(r.Body)
	var patch map[string]any
	if err := json.Unmarshal(body, &patch); err != nil {
		c.t.Errorf("patch %s: %v", body, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.patches = append(c.patches, string(body))
	if c.node == nil {
		return refusal(apierrors.NewNotFound(schema.GroupResource{Resource: "nodes"}, "n1"))
	}
	meta := patch["metadata"].(map[string]any)
	if meta["uid"] != string(c.node.UID) || meta["resourceVersion"] != c.node.ResourceVersion {
		return refusal(apierrors.NewConflict(schema.GroupResource{Resource: "nodes"}, "n1", errors.New("changed")))
	}
	delete(meta, "resourceVersion")
	text, _ := json.Marshal(c.node)
	var whole map[string]any
	_ = json.Unmarshal(text, &whole)
	merge(whole, patch)
	text, _ = json.Marshal(whole)
	node := &corev1.Node{}
	if err := json.Unmarshal(text, node); err != nil {
		c.t.Errorf("patched node %s: %v", text, err)
	}
	c.setNode(node)
	return answer200(node)
}

// setNode gives the node its next resourceVersion. Callers hold c.mu.
func (c *cluster) setNode(node *corev1.Node) {
	version, _ := strconv.Atoi(node.ResourceVersion)
	node.ResourceVersion = strconv.Itoa(version + 1)
	c.node = node
	c.notify()
}

func (c *cluster) editNode(change func(*corev1.Node)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	node := c.node.DeepCopy()
	change(node)
	c.setNode(node)
}

// merge is RFC 7386.
func merge(into, patch map[string]any) {
	for k, v := range patch {
		switch v := v.(type) {
		case nil:
			delete(into, k)
		case map[string]any:
			if _, ok := into[k].(map[string]any); !ok {
				into[k] = map[string]any{}
			}
			merge(into[k].(map[string]any), v)
		default:
			into[k] = v
		}
	}
}

func answer200(v any) *http.Response {
	w := httptest.NewRecorder()
	writeJSON(w, v)
	return w.Result()
}

// remove is an eviction or a deletion.
func (c *cluster) remove(r *http.Request) (*http.Response, error) {
	parts := strings.Split(r.URL.Path, "/") // /api/v1/namespaces/ns/pods/NAME[/eviction]
	asked := call{at: time.Now(), verb: "delete", pod: parts[6]}
	var options metav1.DeleteOptions
	body, _ := io.ReadAll(r.Body)
	if len(parts) > 7 {
		asked.verb = "evict"
		var eviction policyv1.Eviction
		if err := json.Unmarshal(body, &eviction); err != nil || eviction.DeleteOptions == nil {
			c.t.Errorf("eviction %s: %v", body, err)
		}
		options = *eviction.DeleteOptions
	} else if err := json.Unmarshal(body, &options); err != nil {
		c.t.Errorf("delete options %s: %v", body, err)
	}
	asked.uid, asked.grace = *options.Preconditions.UID, options.GracePeriodSeconds

	c.mu.Lock()
	c.calls = append(c.calls, asked)
	attempt := len(c.asked(asked.verb, asked.pod))
	script := c.answers[asked.pod]
	c.inCall++
	c.most = max(c.most, c.inCall)
	c.mu.Unlock()
	defer func() { c.mu.Lock(); c.inCall--; c.mu.Unlock() }()

	if asked.verb == "evict" && script != nil {
		if answer := script(attempt); answer == hang {
			<-r.Context().Done()
			return nil, r.Context().Err()
		} else if answer == refuseConnection {
			return nil, fmt.Errorf("dial tcp: connection refused")
		} else if answer != nil {
			return answer, nil
		}
	}
	if asked.verb == "delete" && c.noDelete {
		return refusal(apierrors.NewForbidden(podsResource, asked.pod, fmt.Errorf("cannot delete resource"))), nil
	}
	c.terminate(asked.pod)
	w := httptest.NewRecorder()
	writeJSON(w, metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Success"})
	return w.Result(), nil
}

var hang, refuseConnection = &http.Response{}, &http.Response{}

// terminate marks a pod deleted and takes it away after stopTime.
func (c *cluster) terminate(name string) {
	c.edit(name, func(p *corev1.Pod) {
		if p.DeletionTimestamp == nil {
			now := metav1.NewTime(time.Now().Add(time.Duration(*p.Spec.TerminationGracePeriodSeconds) * time.Second))
			p.DeletionTimestamp = &now
		}
	})
	if c.stopTime >= 0 {
		time.AfterFunc(c.stopTime, func() { c.take(name) })
	}
}

func (c *cluster) edit(name string, change func(*corev1.Pod)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.pods {
		if p.Name == name {
			c.pods[i] = p.DeepCopy()
			change(c.pods[i])
		}
	}
	c.notify()
}

func (c *cluster) take(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods = slices.DeleteFunc(slices.Clone(c.pods), func(p *corev1.Pod) bool { return p.Name == name })
	c.notify()
}

func (c *cluster) add(p *corev1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods = append(slices.Clone(c.pods), p)
	c.notify()
}

func (c *cluster) notify() {
	for _, ch := range c.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// asked lists the calls of a verb about a pod. Callers hold c.mu or are done.
func (c *cluster) asked(verb, pod string) []call {
	var out []call
	for _, k := range c.calls {
		if k.verb == verb && k.pod == pod {
			out = append(out, k)
		}
	}
	return out
}

func (c *cluster) PodsOn(string) []*corev1.Pod {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.pods)
}

func (c *cluster) Node(string) (*corev1.Node, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.node, c.node != nil
}

func (c *cluster) Nodes() []*corev1.Node {
	if node, ok := c.Node(""); ok {
		return []*corev1.Node{node}
	}
	return nil
}

func (c *cluster) Attached(string, []*corev1.Pod) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attached, nil
}

// Local volumes are what a fake pod's claim "local" stands for.
func (c *cluster) Local(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == "local"
	})
}

func (c *cluster) Watch(string) (<-chan struct{}, func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan struct{}, 1)
	c.watchers = append(c.watchers, ch)
	return ch, func() {}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// refusal is an answer as the API server writes it.
func refusal(err *apierrors.StatusError) *http.Response {
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	if d := err.ErrStatus.Details; d != nil && d.RetryAfterSeconds > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(d.RetryAfterSeconds))
	}
	w.WriteHeader(int(err.ErrStatus.Code))
	err.ErrStatus.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	_ = json.NewEncoder(w).Encode(err.ErrStatus)
	return w.Result()
}

func budgetSays(code int32, retryAfter int32, message string) *http.Response {
	return refusal(&apierrors.StatusError{ErrStatus: metav1.Status{
		Status: "Failure", Code: code, Reason: metav1.StatusReasonTooManyRequests,
		Message: "Cannot evict pod as it would violate the pod's disruption budget.",
		Details: &metav1.StatusDetails{
			RetryAfterSeconds: retryAfter,
			Causes:            []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: message}},
		},
	}})
}

var podsResource = schema.GroupResource{Resource: "pods"}
