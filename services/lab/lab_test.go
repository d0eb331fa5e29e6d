package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	metricsv1beta1 "k8s.io/metrics/pkg/client/clientset/versioned/typed/metrics/v1beta1"

	"github.com/cloudoptim/cloudoptim/pkg/proc"
	"github.com/cloudoptim/cloudoptim/services/lab/internal/kube"
)

// TestMain lets the test binary be lab itself, so that real processes are
// tested without another build.
func TestMain(m *testing.M) {
	if os.Getenv("LAB_TEST_AS_LAB") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// running is a lab in a process of its own.
type running struct {
	description
	child *proc.Child
	dir   string
}

// startLab runs `lab up` with 6 nodes and 30 pods. The heavy parts are built
// first, on the test's time, should the cache not have them.
func startLab(t *testing.T) *running {
	t.Helper()
	if _, _, err := ensure(t.Context(), "."); err != nil {
		t.Fatal(err)
	}
	r := &running{dir: t.TempDir()}
	log := filepath.Join(t.TempDir(), "lab.log")
	rbac, err := filepath.Abs("testdata/agent-rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "up", "--dir", r.dir, "--nodes", "6", "--pods", "30", "--agent-rbac", rbac)
	cmd.Env = append(os.Environ(), "LAB_TEST_AS_LAB=1")
	if r.child, err = proc.StartLogged("lab", log, cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.child.Stop(20 * time.Second)
		if t.Failed() {
			data, _ := os.ReadFile(log)
			t.Logf("lab said:\n%s", data)
		}
	})
	eventually(t, 2*time.Minute, "lab is ready", func() error {
		select {
		case <-r.child.Done():
			t.Fatal(r.child.Ended())
		default:
		}
		_, err := os.Stat(filepath.Join(r.dir, "ready"))
		return err
	})
	data, err := os.ReadFile(filepath.Join(r.dir, "lab.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r.description); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *running) ec2() *ec2.Client {
	return ec2.NewFromConfig(aws.Config{
		Region: r.Region, BaseEndpoint: &r.AWSEndpoint,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

func connect(t *testing.T, kubeconfig string) kubernetes.Interface {
	t.Helper()
	_, client, err := kube.Connect(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestALabLivesAndEnds(t *testing.T) {
	lab := startLab(t)
	admin := connect(t, lab.Kubeconfig)
	t.Run("every generated pod runs, once, and has an owner", func(t *testing.T) { requirePods(t, admin, 30+3*6) })
	t.Run("what nodes and pods use is told by the metrics API", func(t *testing.T) { requireUsage(t, lab, 30+3*6) })
	t.Run("every node has its instance", func(t *testing.T) { requireInstances(t, lab, admin) })
	t.Run("budgets have counted their pods", func(t *testing.T) { requireBudgets(t, admin) })
	t.Run("the agent may do what its manifest says and no more", func(t *testing.T) {
		agent := connect(t, lab.AgentKubeconfig)
		if _, err := agent.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil {
			t.Error(err)
		}
		if _, err := agent.CoreV1().Secrets("").List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
			t.Errorf("listing secrets gave %v", err)
		}
	})
	t.Run("a client token makes a launch idempotent", func(t *testing.T) { requireIdempotence(t, lab) })
	t.Run("a launched instance becomes a node, a terminated one its loss", func(t *testing.T) { requireJourney(t, lab, admin) })
	t.Run("SIGTERM ends every process", func(t *testing.T) {
		requireProcesses(t, lab.dir)
		lab.child.Stop(20 * time.Second)
		if err := lab.child.Wait(); err != nil {
			t.Errorf("lab ended with %v", err)
		}
		requireNoProcesses(t, lab.dir)
	})
}

func TestSIGKILLLeavesNoProcess(t *testing.T) {
	lab := startLab(t)
	requireProcesses(t, lab.dir)
	lab.child.Kill()
	requireNoProcesses(t, lab.dir)
}

func requirePods(t *testing.T, client kubernetes.Interface, want int) {
	t.Helper()
	pods, err := client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) != want {
		t.Errorf("%d pods, want %d", len(pods.Items), want)
	}
	for _, p := range pods.Items {
		if p.Status.Phase != corev1.PodRunning || metav1.GetControllerOf(&p) == nil {
			t.Errorf("%s/%s is %s, owned by %v", p.Namespace, p.Name, p.Status.Phase, p.OwnerReferences)
		}
	}
}

func requireUsage(t *testing.T, lab *running, pods int) {
	t.Helper()
	cfg, _, err := kube.Connect(lab.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := metricsv1beta1.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "usage", func() error {
		nodes, err := client.NodeMetricses().List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		used, err := client.PodMetricses("").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(nodes.Items) != 6 || len(used.Items) != pods {
			return fmt.Errorf("of %d nodes and %d pods", len(nodes.Items), len(used.Items))
		}
		for _, n := range nodes.Items {
			if n.Usage.Cpu().MilliValue() < 91 || n.Usage.Memory().Value() < 360<<20 { // more than the system's own
				return fmt.Errorf("%s uses %v", n.Name, n.Usage)
			}
		}
		return nil
	})
}

func requireBudgets(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	budgets, err := client.PolicyV1().PodDisruptionBudgets("").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(budgets.Items) == 0 {
		t.Error("no budgets")
	}
	for _, b := range budgets.Items {
		if s := b.Status; s.ExpectedPods == 0 || s.CurrentHealthy != s.ExpectedPods {
			t.Errorf("%s counts %d of %d", b.Name, s.CurrentHealthy, s.ExpectedPods)
		}
	}
}

func requireInstances(t *testing.T, lab *running, client kubernetes.Interface) {
	t.Helper()
	nodes, err := client.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := lab.ec2().DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{})
	if err != nil {
		t.Fatal(err)
	}
	byProvider := map[string]ec2types.Instance{}
	for _, r := range out.Reservations {
		for _, i := range r.Instances {
			byProvider["aws:///"+*i.Placement.AvailabilityZone+"/"+*i.InstanceId] = i
		}
	}
	for _, n := range nodes.Items {
		i, ok := byProvider[n.Spec.ProviderID]
		if !ok || string(i.InstanceType) != n.Labels[corev1.LabelInstanceTypeStable] {
			t.Errorf("%s says it is %s: %v", n.Name, n.Spec.ProviderID, i.InstanceType)
		}
	}
	if len(nodes.Items) != 6 || len(byProvider) != 6 {
		t.Errorf("%d nodes, %d instances", len(nodes.Items), len(byProvider))
	}
}

func launch(ctx context.Context, lab *running, token string) (ec2types.Instance, error) {
	out, err := lab.ec2().RunInstances(ctx, &ec2.RunInstancesInput{
		LaunchTemplate: &ec2types.LaunchTemplateSpecification{LaunchTemplateId: &lab.LaunchTemplateID},
		InstanceType:   ec2types.InstanceTypeM7gXlarge, SubnetId: aws.String(lab.SubnetIDs["us-east-1b"]),
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), ClientToken: &token,
		InstanceMarketOptions: &ec2types.InstanceMarketOptionsRequest{MarketType: ec2types.MarketTypeSpot},
	})
	if err != nil {
		return ec2types.Instance{}, err
	}
	return out.Instances[0], nil
}

func requireIdempotence(t *testing.T, lab *running) {
	t.Helper()
	first, err := launch(t.Context(), lab, "again")
	if err != nil {
		t.Fatal(err)
	}
	second, err := launch(t.Context(), lab, "again")
	if err != nil {
		t.Fatal(err)
	}
	if *first.InstanceId != *second.InstanceId {
		t.Errorf("one token launched %s and %s", *first.InstanceId, *second.InstanceId)
	}
	if _, err := lab.ec2().TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{*first.InstanceId}}); err != nil {
		t.Fatal(err)
	}
}

func requireJourney(t *testing.T, lab *running, client kubernetes.Interface) {
	t.Helper()
	instance, err := launch(t.Context(), lab, "journey")
	if err != nil {
		t.Fatal(err)
	}
	name := *instance.PrivateDnsName
	eventually(t, 10*time.Second, "the instance is a ready node", func() error {
		n, err := client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue && len(n.Spec.Taints) == 0 {
				return requireLabels(n, *instance.InstanceId)
			}
		}
		return fmt.Errorf("%s is not ready", name)
	})
	onNode := metav1.ListOptions{FieldSelector: "spec.nodeName=" + name}
	eventually(t, 10*time.Second, "the node has its DaemonSets' pods", func() error {
		pods, err := client.CoreV1().Pods("").List(t.Context(), onNode)
		if err == nil && len(pods.Items) < 3 {
			err = fmt.Errorf("%d pods", len(pods.Items))
		}
		return err
	})
	if _, err := lab.ec2().TerminateInstances(t.Context(), &ec2.TerminateInstancesInput{InstanceIds: []string{*instance.InstanceId}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the node and its pods are gone", func() error {
		if _, err := client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("%s is still there (%w)", name, err)
		}
		pods, err := client.CoreV1().Pods("").List(t.Context(), onNode)
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d pods are still there", len(pods.Items))
		}
		return err
	})
}

func requireLabels(n *corev1.Node, id string) error {
	for key, want := range map[string]string{
		corev1.LabelInstanceTypeStable: "m7g.xlarge", corev1.LabelTopologyZone: "us-east-1b", corev1.LabelTopologyRegion: "us-east-1",
		corev1.LabelArchStable: "arm64", corev1.LabelOSStable: "linux", corev1.LabelHostname: n.Name, "eks.amazonaws.com/capacityType": "SPOT",
	} {
		if n.Labels[key] != want {
			return fmt.Errorf("label %s is %q, want %q", key, n.Labels[key], want)
		}
	}
	if want := "aws:///us-east-1b/" + id; n.Spec.ProviderID != want {
		return fmt.Errorf("provider id is %s, want %s", n.Spec.ProviderID, want)
	}
	if cpu := n.Status.Allocatable.Cpu().MilliValue(); cpu != 3920 {
		return fmt.Errorf("allocatable is %dm CPU, want 3920m", cpu)
	}
	return nil
}

// processes are those which were started with the lab's folder as an argument:
// all of them were.
func processes(t *testing.T, dir string) []int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(data, []byte(dir)) {
			continue // ended meanwhile, or another's
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// requireProcesses keeps requireNoProcesses honest: lab, moto, kubebox and its
// five components.
func requireProcesses(t *testing.T, dir string) {
	t.Helper()
	if got := processes(t, dir); len(got) != 8 {
		t.Fatalf("%d processes, want 8", len(got))
	}
}

func requireNoProcesses(t *testing.T, dir string) {
	t.Helper()
	eventually(t, 5*time.Second, "no process is left", func() error {
		if left := processes(t, dir); len(left) > 0 {
			return fmt.Errorf("%d are left: %v", len(left), left)
		}
		return nil
	})
}

// eventually looks until it is so, or fails with the last reason why not.
func eventually(t *testing.T, within time.Duration, what string, is func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := is()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %v", within, what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
