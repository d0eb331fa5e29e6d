package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/cloudoptim/cloudoptim/services/agent/internal/lead"
)

const leaseName = "cloudoptim-agent"

// fleet is a DaemonSet of agents: the pods are kwok's, each agent is a process
// with the token of its pod, under deploy/agent-admission.yaml.
type fleet struct {
	*plot
	central *central // nil: there is none
	agents  map[string]*process
	pods    map[string]*corev1.Pod // by node
}

// newFleet makes the DaemonSet; every ready node of the plot has a pod of it.
func newFleet(t *testing.T, p *plot, c *central) *fleet {
	t.Helper()
	f := &fleet{plot: p, central: c, agents: map[string]*process{}, pods: map[string]*corev1.Pod{}}
	admit(t)
	t.Cleanup(func() { freeLease(t) })
	labels := map[string]string{"agents-of": p.name}
	template := p.template("agent", nil)
	template.Labels = labels
	template.Spec.ServiceAccountName = "cloudoptim-agent"
	template.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	set := &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: "agents-" + p.name},
		Spec:       appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}
	_, err := kube.admin.AppsV1().DaemonSets("cloudoptim").Create(t.Context(), set, metav1.CreateOptions{})
	require(t, err)
	t.Cleanup(func() {
		_ = kube.admin.AppsV1().DaemonSets("cloudoptim").Delete(context.Background(), set.Name, metav1.DeleteOptions{})
	})
	return f
}

// admit applies deploy/agent-admission.yaml, once, and waits until it counts.
func admit(t *testing.T) {
	t.Helper()
	freeLease(t)
	applyAdmission(t)
	p := newPlot(t)
	node := p.addNode("probe")
	client, err := newClient(podToken(t, p.bareAgent("probe", node)))
	require(t, err)
	await(t, "the admission policies to count", func() bool {
		label := []byte(`{"metadata":{"labels":{"x":"` + randomName() + `"}}}`)
		_, err := client.CoreV1().Nodes().Patch(t.Context(), node, mergePatch, label, metav1.PatchOptions{})
		return apierrors.IsForbidden(err)
	})
}

var applyAdmission = func() func(t *testing.T) {
	var once sync.Once
	return func(t *testing.T) {
		t.Helper()
		once.Do(func() {
			text, err := os.ReadFile("../../../deploy/agent-admission.yaml")
			require(t, err)
			require(t, createPolicies(t.Context(), text))
		})
	}
}()

func createPolicies(ctx context.Context, text []byte) error {
	docs := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	admission := kube.admin.AdmissionregistrationV1()
	for {
		var raw json.RawMessage
		if err := docs.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var head metav1.TypeMeta
		if err := json.Unmarshal(raw, &head); err != nil {
			return err
		}
		var err error
		switch head.Kind {
		case "ValidatingAdmissionPolicy":
			policy := &admissionv1.ValidatingAdmissionPolicy{}
			if err = json.Unmarshal(raw, policy); err == nil {
				_, err = admission.ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{FieldValidation: "Strict"})
			}
		case "ValidatingAdmissionPolicyBinding":
			binding := &admissionv1.ValidatingAdmissionPolicyBinding{}
			if err = json.Unmarshal(raw, binding); err == nil {
				_, err = admission.ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{FieldValidation: "Strict"})
			}
		default:
			err = fmt.Errorf("a manifest of policies holds a %q", head.Kind)
		}
		if err != nil {
			return err
		}
	}
}

// freeLease lets a test begin with a free lease: the holder of the last one was
// killed. Its epochs go on.
func freeLease(t *testing.T) {
	t.Helper()
	leases, nobody := kube.admin.CoordinationV1().Leases("cloudoptim"), ""
	for {
		lease, err := leases.Get(context.Background(), leaseName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &nobody}}
			_, err = leases.Create(context.Background(), lease, metav1.CreateOptions{})
		} else if err == nil {
			lease.Spec.HolderIdentity = &nobody
			delete(lease.Annotations, lead.BulletinAnnotation)
			_, err = leases.Update(context.Background(), lease, metav1.UpdateOptions{})
		}
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			require(t, err)
			return
		}
	}
}

// holder is who has the lease, and the epoch that is.
func holder(t *testing.T) (string, int64) {
	t.Helper()
	lease, err := kube.admin.CoordinationV1().Leases("cloudoptim").Get(t.Context(), leaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", 0
	}
	require(t, err)
	if lease.Spec.HolderIdentity == nil || lease.Spec.LeaseTransitions == nil {
		return "", 0
	}
	return *lease.Spec.HolderIdentity, int64(*lease.Spec.LeaseTransitions) + 1
}

// bareAgent makes a pod with the agents' account that nothing owns.
func (p *plot) bareAgent(name, node string) *corev1.Pod {
	p.t.Helper()
	template := p.template(name, nil)
	template.Spec.NodeName, template.Spec.ServiceAccountName = node, "cloudoptim-agent"
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name + "-" + p.name, Labels: template.Labels}, Spec: template.Spec}
	pod, err := kube.admin.CoreV1().Pods("cloudoptim").Create(p.t.Context(), pod, metav1.CreateOptions{})
	require(p.t, err)
	p.t.Cleanup(func() {
		_ = kube.admin.CoreV1().Pods("cloudoptim").Delete(context.Background(), pod.Name, metav1.DeleteOptions{})
	})
	return pod
}

// podToken is what a kubelet would mount into the pod.
func podToken(t *testing.T, pod *corev1.Pod) *rest.Config {
	t.Helper()
	seconds := int64(3600)
	token, err := kube.admin.CoreV1().ServiceAccounts("cloudoptim").CreateToken(t.Context(), "cloudoptim-agent",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: &seconds,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		}}, metav1.CreateOptions{})
	require(t, err)
	cfg := rest.CopyConfig(kube.agent)
	cfg.BearerToken = token.Status.Token
	return cfg
}

// pod waits for the DaemonSet's pod on a node.
func (f *fleet) pod(node string) *corev1.Pod {
	f.t.Helper()
	await(f.t, "the agent's pod on "+node, func() bool {
		list, err := kube.admin.CoreV1().Pods("cloudoptim").List(f.t.Context(), metav1.ListOptions{
			LabelSelector: "agents-of=" + f.name, FieldSelector: "spec.nodeName=" + node,
		})
		require(f.t, err)
		for _, pod := range list.Items {
			for _, c := range pod.Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
					f.pods[node] = &pod
				}
			}
		}
		return f.pods[node] != nil
	})
	return f.pods[node]
}

// start runs the agent of a node, as the chart would: endpoint is its instance's
// metadata service.
func (f *fleet) start(node, endpoint string) *process {
	f.t.Helper()
	pod := f.pod(node)
	cfg := podToken(f.t, pod)
	out := clientcmdapi.NewConfig()
	out.Clusters["kube"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	out.AuthInfos["agent"] = &clientcmdapi.AuthInfo{Token: cfg.BearerToken}
	out.Contexts["agent"] = &clientcmdapi.Context{Cluster: "kube", AuthInfo: "agent"}
	out.CurrentContext = "agent"
	dir := f.t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	require(f.t, clientcmd.WriteToFile(*out, kubeconfig))
	c := f.central
	if c == nil {
		c = &central{address: "127.0.0.1:1"} // nobody listens there
	}
	f.agents[node] = startAgent(f.t, c, pod.Name, filepath.Join(dir, "state"),
		"--agent.kubeconfig="+kubeconfig, "--agent.leader_election=true", "--agent.namespace=cloudoptim",
		"--agent.node_name="+node, "--agent.imds_endpoint="+endpoint)
	return f.agents[node]
}

func (f *fleet) awaitLeader(node string) {
	f.t.Helper()
	await(f.t, "the agent of "+node+" to lead", func() bool {
		who, _ := holder(f.t)
		return who == f.pods[node].Name
	})
	agent := f.agents[node]
	await(f.t, "it to work", func() bool {
		resp, err := http.Get("http://" + agent.http + "/metrics")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return err == nil && strings.Contains(string(text), "cloudoptim_link_connected") // only who works has a line
	})
}

// imdsStub is an instance's metadata service.
type imdsStub struct {
	*httptest.Server
	mu    sync.Mutex
	items map[string]string
}

func newMetadata(t *testing.T, node string) *imdsStub {
	t.Helper()
	m := &imdsStub{items: map[string]string{"instance-id": instanceOf(node)}}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/latest/api/token" {
			fmt.Fprint(w, "token")
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		text, ok := m.items[strings.TrimPrefix(r.URL.Path, "/latest/meta-data/")]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, text)
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *imdsStub) set(item, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items[item] = text
}

func (m *imdsStub) unset(item string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.items, item)
}

// interrupt is a spot notice that leaves so long.
func (m *imdsStub) interrupt(left time.Duration) {
	m.set("spot/instance-action", fmt.Sprintf(`{"action":"terminate","time":%q}`, time.Now().Add(left).UTC().Format(time.RFC3339)))
}
