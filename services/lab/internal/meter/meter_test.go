package meter

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func pod(name string, annotations map[string]string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", Annotations: annotations},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1"), corev1.ResourceMemory: resource.MustParse("1Gi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
		}}}},
	}
}

func TestUseIsTheSameEachTimeAndWithinBounds(t *testing.T) {
	total := int64(0)
	for i := range 500 {
		p := pod(string(rune('a'+i%26))+string(rune('a'+i/26)), nil)
		first, again := use(p, &p.Spec.Containers[0], noon), use(p, &p.Spec.Containers[0], noon)
		if first != again {
			t.Fatalf("%v and then %v", first, again)
		}
		if first.millicores <= 0 || first.millicores > 2100 || first.bytes <= 0 || first.bytes > 512<<20 {
			t.Fatalf("%s uses %v", p.Name, first)
		}
		total += first.millicores
	}
	if mean := total / 500; mean < 300 || mean > 600 {
		t.Errorf("of a vCPU %d thousandths are used on average", mean)
	}
}

func TestUseHasARhythmOfTheDay(t *testing.T) {
	p := pod("web", nil)
	seen := map[int64]bool{}
	for h := range 24 {
		seen[use(p, &p.Spec.Containers[0], noon.Add(time.Duration(h)*time.Hour)).millicores] = true
	}
	if len(seen) < 12 {
		t.Errorf("%d different hours in a day", len(seen))
	}
}

func TestAnnotationsSayWhatIsUsed(t *testing.T) {
	p := pod("web", map[string]string{cpuAnnotation: "300m", memoryAnnotation: "64Mi"})
	if got := use(p, &p.Spec.Containers[0], noon); got != (amounts{300, 64 << 20}) {
		t.Errorf("uses %v", got)
	}
	plain := pod("web", nil)
	bad := pod("web", map[string]string{cpuAnnotation: "much", memoryAnnotation: "-1"})
	if got, want := use(bad, &bad.Spec.Containers[0], noon), use(plain, &plain.Spec.Containers[0], noon); got != want {
		t.Errorf("uses %v, want %v", got, want)
	}
}
