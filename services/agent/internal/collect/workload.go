package collect

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

const (
	// mostContainers and mostKills are what the contract takes.
	mostContainers, mostKills = 100, 100
	oomKilled                 = "OOMKilled"
)

// workloads are the cluster's, as its pods tell them, to be sampled.
type workloads struct {
	byKey map[string]*workload
	byPod map[string]*workload
}

type workload struct {
	message    *fleetv1.WorkloadUsage
	newest     metav1.Time // of the pods: it has the requests that count
	containers map[string]*fleetv1.ContainerSample
	sampled    map[string]bool
}

// gather makes them of the pods that have not finished.
func gather(view *Collector, counted *restarts) *workloads {
	all := &workloads{byKey: map[string]*workload{}, byPod: map[string]*workload{}}
	now := map[statusKey]int32{}
	for _, obj := range view.pods.GetStore().List() {
		pod := obj.(*corev1.Pod)
		kind, name := workloadOf(pod)
		if name == "" || len(name) > 253 || len(kind) > 63 || drain.Finished(pod) {
			continue
		}
		w := all.of(pod.Namespace, kind, name)
		w.message.Replicas++
		all.byPod[pod.Namespace+"/"+pod.Name] = w
		w.describe(pod)
		for _, s := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses) {
			now[statusKey{pod.UID, s.Name}] = s.RestartCount
			if sample := w.containers[s.Name]; sample != nil {
				w.kill(sample, s)
				counted.count(workloadKey(w.message)+"/"+s.Name, statusKey{pod.UID, s.Name}, s.RestartCount)
			}
		}
	}
	counted.seen = now
	maps.DeleteFunc(counted.due, func(container string, _ int32) bool { // of workloads that are gone
		return all.byKey[container[:strings.LastIndex(container, "/")]] == nil
	})
	return all
}

func (all *workloads) of(namespace, kind, name string) *workload {
	m := &fleetv1.WorkloadUsage{Namespace: namespace, Kind: kind, Name: name}
	key := workloadKey(m)
	if all.byKey[key] == nil {
		all.byKey[key] = &workload{message: m, containers: map[string]*fleetv1.ContainerSample{}, sampled: map[string]bool{}}
	}
	return all.byKey[key]
}

func workloadKey(w *fleetv1.WorkloadUsage) string {
	return w.GetNamespace() + "/" + w.GetKind() + "/" + w.GetName()
}

// sampled are the workloads with the containers of which something is known, in order.
func (all *workloads) sampled() []*fleetv1.WorkloadUsage {
	var out []*fleetv1.WorkloadUsage
	for _, key := range slices.Sorted(maps.Keys(all.byKey)) {
		w := all.byKey[key]
		for _, name := range slices.Sorted(maps.Keys(w.sampled)) {
			if len(w.message.Containers) < mostContainers {
				w.message.Containers = append(w.message.Containers, w.containers[name])
			}
		}
		if len(w.message.Containers) > 0 {
			out = append(out, w.message)
		}
	}
	return out
}

// describe notes the containers of a pod: those of the newest count. Init containers use
// nothing while the pod works, but for sidecars.
func (w *workload) describe(pod *corev1.Pod) {
	newest := w.newest.IsZero() || w.newest.Before(&pod.CreationTimestamp)
	if newest {
		w.newest = pod.CreationTimestamp
	}
	for i, c := range slices.Concat(pod.Spec.Containers, pod.Spec.InitContainers) {
		sidecar := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		if i >= len(pod.Spec.Containers) && !sidecar {
			continue
		}
		sample := w.containers[c.Name]
		if sample == nil {
			sample = &fleetv1.ContainerSample{Container: c.Name}
			w.containers[c.Name] = sample
		} else if !newest {
			continue
		}
		sample.Requests, sample.Limits = cpuAndMemory(c.Resources.Requests), cpuAndMemory(c.Resources.Limits)
	}
}

func (w *workload) kill(sample *fleetv1.ContainerSample, s corev1.ContainerStatus) {
	ended := s.LastTerminationState.Terminated
	if ended == nil || ended.Reason != oomKilled || ended.FinishedAt.IsZero() || len(sample.OomKills) >= mostKills {
		return
	}
	sample.OomKills = append(sample.OomKills, &fleetv1.ContainerKill{
		Time: timestamppb.New(ended.FinishedAt.Time), LimitBytes: sample.GetLimits().GetMemoryBytes(),
	})
}

// cpuAndMemory is nil when neither is named.
func cpuAndMemory(list corev1.ResourceList) *fleetv1.Resources {
	r := &fleetv1.Resources{CpuMillicores: max(list.Cpu().MilliValue(), 0), MemoryBytes: max(list.Memory().Value(), 0)}
	if r.CpuMillicores == 0 && r.MemoryBytes == 0 {
		return nil
	}
	return r
}

// aRun is what the name of a CronJob's Job ends with: the minute that it was due.
var aRun = regexp.MustCompile(`-\d{6,}$`)

// workloadOf names what a pod's requests are set in: the Deployment of its ReplicaSet, the
// CronJob of its Job. Pods of their own and those that a kubelet makes from files have none.
func workloadOf(pod *corev1.Pod) (kind, name string) {
	owner := metav1.GetControllerOf(pod)
	if owner == nil || owner.Kind == "Node" {
		return "", ""
	}
	kind, name = owner.Kind, owner.Name
	switch kind {
	case "ReplicaSet":
		hash := pod.Labels["pod-template-hash"]
		if deployment, ok := strings.CutSuffix(name, "-"+hash); ok && hash != "" {
			return "Deployment", deployment
		}
	case "Job":
		if cron := aRun.ReplaceAllString(name, ""); cron != name {
			return "CronJob", cron
		}
	}
	return kind, name
}

// statusKey is a container of a pod.
type statusKey struct {
	pod       types.UID
	container string
}

// restarts tells how often containers restarted since they were told of last. What was
// before this process looked first is nobody's to tell.
type restarts struct {
	seen map[statusKey]int32
	due  map[string]int32 // by workload and container
}

func (r *restarts) count(container string, of statusKey, restarts int32) {
	if before, known := r.seen[of]; known && restarts > before {
		r.due[container] += restarts - before
	}
}

// tell puts them into the samples.
func (r *restarts) tell(told []*fleetv1.WorkloadUsage) {
	for _, w := range told {
		for _, c := range w.Containers {
			key := workloadKey(w) + "/" + c.Container
			c.Restarts = r.due[key]
			delete(r.due, key)
		}
	}
}
