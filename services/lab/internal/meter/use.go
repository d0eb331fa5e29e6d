package meter

import (
	"hash/fnv"
	"math"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What each container of a pod uses can be set by the annotations that kwok knows it by.
const (
	cpuAnnotation    = "kwok.x-k8s.io/usage-cpu"
	memoryAnnotation = "kwok.x-k8s.io/usage-memory"
)

// use makes up what a container uses: a share of what it requests that is the workload's own, a
// rhythm of the day, some unrest, never more than its limit. Most request far more than they use, a few less,
// as Datadog and others find it in the field.
func use(pod *corev1.Pod, c *corev1.Container, now time.Time) amounts {
	workload := pod.Namespace + "/" + owner(pod) + "/" + c.Name
	requests, limits := c.Resources.Requests, c.Resources.Limits
	cpu, memory := float64(requests.Cpu().MilliValue()), float64(requests.Memory().Value())
	if cpu == 0 {
		cpu = 100
	}
	if memory == 0 {
		memory = 128 << 20
	}
	// Squared, so that little use is common.
	share := 0.08 + 1.1*math.Pow(random(workload, "cpu"), 2)
	peak := 10 + 8*random(workload, "peak") // o'clock, UTC
	hour := float64(now.UTC().Hour()) + float64(now.UTC().Minute())/60
	rhythm := 1 + 0.5*random(workload, "rhythm")*math.Cos((hour-peak)/24*2*math.Pi)
	unrest := 0.85 + 0.3*random(pod.Name, c.Name, now.UTC().Truncate(time.Minute).Format(time.RFC3339))
	used := amounts{
		millicores: bounded(cpu*share*rhythm*unrest, limits.Cpu().MilliValue()),
		bytes:      bounded(memory*(0.25+0.7*random(workload, "memory"))*(0.97+0.06*random(pod.Name, c.Name)), limits.Memory().Value()),
	}
	if v, ok := annotated(pod, cpuAnnotation); ok {
		used.millicores = v.MilliValue()
	}
	if v, ok := annotated(pod, memoryAnnotation); ok {
		used.bytes = v.Value()
	}
	return used
}

func annotated(pod *corev1.Pod, key string) (resource.Quantity, bool) {
	text, ok := pod.Annotations[key]
	if !ok {
		return resource.Quantity{}, false
	}
	v, err := resource.ParseQuantity(text)
	return v, err == nil && v.Sign() >= 0
}

func bounded(v float64, limit int64) int64 {
	if n := int64(v); limit == 0 || n < limit {
		return n
	}
	return limit
}

func owner(pod *corev1.Pod) string {
	ref := metav1.GetControllerOf(pod)
	if ref == nil {
		return pod.Name
	}
	return strings.TrimSuffix(ref.Name, "-"+pod.Labels["pod-template-hash"])
}

// random is a number from 0 to 1 that is always the same for the same words.
func random(words ...string) float64 {
	h := fnv.New64a()
	for _, word := range words {
		_, _ = h.Write([]byte(word + "\x00"))
	}
	// FNV's upper bits change little between words that end alike.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}
