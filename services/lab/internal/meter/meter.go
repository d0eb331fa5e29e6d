// Package meter tells what the lab's nodes and pods use, where metrics-server would: behind the real API
// server's aggregation layer. kwok runs no containers, so use is made up, by rules that are the same each time.
package meter

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

const (
	group   = "metrics.k8s.io"
	version = "v1beta1"
	prefix  = "/apis/" + group + "/" + version
	// service is what the API server finds the meter by.
	service, namespace = "metrics-server", "kube-system"
	// window is over how long metrics-server averages.
	window = 15 * time.Second
)

// Meter serves the resource metrics API of a cluster.
type Meter struct {
	// Client reads nodes and pods.
	Client kubernetes.Interface

	server *http.Server
}

// Start serves on loopback and has the API server of cfg pass the group on to it.
func (m *Meter) Start(ctx context.Context, cfg *rest.Config) error {
	certificate, key, err := cert.GenerateSelfSignedCertKey(service+"."+namespace+".svc", nil, nil) // as the API server calls it
	if err != nil {
		return fmt.Errorf("making the meter's certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return fmt.Errorf("reading the meter's certificate: %w", err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return fmt.Errorf("listening for the metrics API: %w", err)
	}
	m.server = &http.Server{Handler: m, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = m.server.Serve(listener) }() // until Stop
	return m.register(ctx, cfg, listener.Addr().(*net.TCPAddr).Port, certificate)
}

// Stop ends it.
func (m *Meter) Stop() { _ = m.server.Close() }

func (m *Meter) register(ctx context.Context, cfg *rest.Config, port int, authority []byte) error {
	// The API server reaches services alone, and this is the kind that leads to this host.
	here := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: service, Namespace: namespace},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"},
	}
	// A dump may have brought a metrics-server along.
	err := m.Client.CoreV1().Services(namespace).Delete(ctx, service, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("registering the metrics API: %w", err)
	}
	if _, err := m.Client.CoreV1().Services(namespace).Create(ctx, here, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("registering the metrics API: %w", err)
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return fmt.Errorf("registering the metrics API: %w", err)
	}
	services := client.Resource(schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"})
	_, err = services.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": map[string]any{"name": version + "." + group},
		"spec": map[string]any{
			"group": group, "version": version, "groupPriorityMinimum": int64(100), "versionPriority": int64(100),
			"caBundle": base64.StdEncoding.EncodeToString(authority), "service": map[string]any{"name": service, "namespace": namespace, "port": int64(port)},
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("registering the metrics API: %w", err)
	}
	return nil
}

// ServeHTTP answers discovery and lists; a list is never paged, as metrics-server's are not.
func (m *Meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := m.answer(r.Context(), r.URL.Path, time.Now())
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	case answer == nil:
		http.NotFound(w, r)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer) // who asked has gone
	}
}

// answer is nil for what is not there.
func (m *Meter) answer(ctx context.Context, path string, now time.Time) (any, error) {
	rest, ours := strings.CutPrefix(path, prefix)
	if !ours {
		return nil, nil
	}
	parts := strings.Split(strings.Trim(rest, "/"), "/")
	switch {
	case rest == "":
		return resources(), nil
	case len(parts) == 1 && parts[0] == "nodes":
		return m.nodes(ctx, now)
	case len(parts) == 1 && parts[0] == "pods":
		return m.pods(ctx, metav1.NamespaceAll, now)
	case len(parts) == 3 && parts[0] == "namespaces" && parts[2] == "pods":
		return m.pods(ctx, parts[1], now)
	}
	return nil, nil
}

func resources() *metav1.APIResourceList {
	verbs := metav1.Verbs{"get", "list"}
	return &metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: group + "/" + version,
		APIResources: []metav1.APIResource{{Name: "nodes", Kind: "NodeMetrics", Verbs: verbs}, {Name: "pods", Namespaced: true, Kind: "PodMetrics", Verbs: verbs}},
	}
}

func kind(name string) metav1.TypeMeta {
	return metav1.TypeMeta{Kind: name, APIVersion: group + "/" + version}
}

func (m *Meter) pods(ctx context.Context, namespace string, now time.Time) (*v1beta1.PodMetricsList, error) {
	running, err := m.running(ctx, namespace)
	if err != nil {
		return nil, err
	}
	list := &v1beta1.PodMetricsList{TypeMeta: kind("PodMetricsList")}
	for i := range running {
		pod := &running[i]
		of := v1beta1.PodMetrics{
			ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, Labels: pod.Labels, CreationTimestamp: metav1.NewTime(now)},
			Timestamp:  metav1.NewTime(now), Window: metav1.Duration{Duration: window},
		}
		for c := range pod.Spec.Containers {
			used := use(pod, &pod.Spec.Containers[c], now)
			of.Containers = append(of.Containers, v1beta1.ContainerMetrics{Name: pod.Spec.Containers[c].Name, Usage: used.list()})
		}
		list.Items = append(list.Items, of)
	}
	return list, nil
}

// nodes use what their pods use and what the system of a small node does.
func (m *Meter) nodes(ctx context.Context, now time.Time) (*v1beta1.NodeMetricsList, error) {
	nodes, err := m.Client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	running, err := m.running(ctx, metav1.NamespaceAll)
	if err != nil {
		return nil, err
	}
	byNode := map[string]amounts{}
	for i := range running {
		pod := &running[i]
		sum := byNode[pod.Spec.NodeName]
		for c := range pod.Spec.Containers {
			sum = sum.plus(use(pod, &pod.Spec.Containers[c], now))
		}
		byNode[pod.Spec.NodeName] = sum
	}
	list := &v1beta1.NodeMetricsList{TypeMeta: kind("NodeMetricsList")}
	for _, node := range nodes.Items {
		used := byNode[node.Name].plus(amounts{millicores: 90, bytes: 350 << 20})
		list.Items = append(list.Items, v1beta1.NodeMetrics{
			ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: node.Labels, CreationTimestamp: metav1.NewTime(now)},
			Timestamp:  metav1.NewTime(now), Window: metav1.Duration{Duration: window}, Usage: used.list(),
		})
	}
	return list, nil
}

func (m *Meter) running(ctx context.Context, namespace string) ([]corev1.Pod, error) {
	pods, err := m.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, err
	}
	var running []corev1.Pod
	for _, pod := range pods.Items {
		if pod.Status.Phase == corev1.PodRunning {
			running = append(running, pod)
		}
	}
	return running, nil
}

// amounts of CPU and memory.
type amounts struct{ millicores, bytes int64 }

func (a amounts) plus(b amounts) amounts {
	return amounts{a.millicores + b.millicores, a.bytes + b.bytes}
}

func (a amounts) list() corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(a.millicores, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(a.bytes, resource.BinarySI),
	}
}
