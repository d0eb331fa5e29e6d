// Package apitest drives the agent's rooms, and the agent itself, against a real
// Kubernetes control plane with exactly the rights of deploy/agent-rbac.yaml.
package apitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// kube is the control plane that all tests of this package share; each test has
// nodes and a namespace of its own.
var kube struct {
	admin       kubernetes.Interface
	adminConfig *rest.Config
	agent       *rest.Config // the ServiceAccount's token, nothing else
	kubeconfig  string       // the same, as a file
	binary      string       // the agent
}

func TestMain(m *testing.M) {
	code, err := withControlPlane(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the control plane:", err)
		code = 1
	}
	os.Exit(code)
}

func withControlPlane(tests func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "agent-apitest-*")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	root, err := sourceTree()
	if err != nil {
		return 1, err
	}
	kubebox, err := findKubebox(root)
	if err != nil {
		return 1, err
	}
	stop, err := startKubebox(kubebox, filepath.Join(dir, "kube"))
	if err != nil {
		return 1, err
	}
	defer stop()
	kube.binary = filepath.Join(dir, "agent")
	build := exec.Command("go", "build", "-o", kube.binary, "./services/agent")
	build.Dir, build.Stderr = root, os.Stderr
	if err := build.Run(); err != nil {
		return 1, fmt.Errorf("building the agent: %w", err)
	}
	if err := connect(dir, filepath.Join(root, "deploy", "agent-rbac.yaml")); err != nil {
		return 1, err
	}
	return tests(), nil
}

func sourceTree() (string, error) {
	dir, err := os.Getwd()
	for err == nil && dir != "/" {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir, nil
		}
		dir = filepath.Dir(dir)
	}
	return "", fmt.Errorf("no go.mod above the test: %w", err)
}

// findKubebox has the lab build it, which it does at most once, and takes it
// from the lab's cache; the variable is for trying another one.
func findKubebox(root string) (string, error) {
	if path := os.Getenv("KUBEBOX"); path != "" {
		return path, nil
	}
	build := exec.Command("go", "run", "./services/lab", "build")
	build.Dir, build.Stdout, build.Stderr = root, os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("having the lab build its control plane: %w", err)
	}
	cache := os.Getenv("CLOUDOPTIM_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(dir, "cloudoptim")
	}
	found, err := filepath.Glob(filepath.Join(cache, "kubebox", "*", "kubebox"))
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no control plane in %s after the lab built it: %w", cache, err)
	}
	return slices.MaxFunc(found, func(a, b string) int { return modified(a).Compare(modified(b)) }), nil
}

func modified(file string) time.Time {
	info, err := os.Stat(file)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func startKubebox(binary, dir string) (stop func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "kubebox.log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "up", "-dir", dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
		}
	}
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "ready")); err == nil {
			kube.kubeconfig = filepath.Join(dir, "admin.kubeconfig")
			return stop, nil
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(log.Name())
			return nil, fmt.Errorf("kubebox ended early: %w\n%s", err, text)
		default:
		}
	}
	stop()
	return nil, errors.New("kubebox was not ready in three minutes")
}

// connect makes the admin's client and the agent's account.
func connect(dir, rbac string) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", kube.kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS, cfg.Burst = 500, 1000
	kube.adminConfig = cfg
	if kube.admin, err = kubernetes.NewForConfig(cfg); err != nil {
		return err
	}
	ctx := context.Background()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "cloudoptim"}}
	if _, err := kube.admin.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := apply(ctx, cfg, rbac); err != nil {
		return fmt.Errorf("applying %s: %w", rbac, err)
	}
	seconds := int64(24 * 3600)
	token, err := kube.admin.CoreV1().ServiceAccounts("cloudoptim").CreateToken(ctx, "cloudoptim-agent",
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("asking for the agent's token: %w", err)
	}
	out := clientcmdapi.NewConfig()
	out.Clusters["kube"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	out.AuthInfos["agent"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	out.Contexts["agent"] = &clientcmdapi.Context{Cluster: "kube", AuthInfo: "agent"}
	out.CurrentContext = "agent"
	kube.kubeconfig = filepath.Join(dir, "agent.kubeconfig")
	if err := clientcmd.WriteToFile(*out, kube.kubeconfig); err != nil {
		return err
	}
	if kube.agent, err = clientcmd.BuildConfigFromFlags("", kube.kubeconfig); err != nil {
		return err
	}
	kube.agent.QPS, kube.agent.Burst = 50, 100
	return nil
}

// apply creates every object of a manifest.
func apply(ctx context.Context, cfg *rest.Config, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	docs := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		obj := &unstructured.Unstructured{}
		if err := docs.Decode(obj); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		kind := obj.GroupVersionKind()
		resource := client.Resource(schema.GroupVersionResource{
			Group: kind.Group, Version: kind.Version, Resource: strings.ToLower(kind.Kind) + "s",
		})
		var target dynamic.ResourceInterface = resource
		if obj.GetNamespace() != "" {
			target = resource.Namespace(obj.GetNamespace())
		}
		if _, err := target.Create(ctx, obj, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("creating %s %s: %w", kind.Kind, obj.GetName(), err)
		}
	}
}
