package usage

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/histogram"
)

// Container is the usage of one container, checked.
type Container struct {
	*mlv1.ContainerUsage
	// Hours in order, as counted from 1970.
	Hours []Hour
}

// Hour of samples.
type Hour struct {
	// At is the hour, counted from 1970.
	At int64
	// CPU in thousandths of a vCPU; nil for none.
	CPU *mlv1.UsageHistogram
	// Memory in MiB; nil for none.
	Memory *mlv1.UsageHistogram
}

// Start of the hour.
func (h Hour) Start() time.Time { return time.Unix(h.At*3600, 0).UTC() }

// mostApart are hours from the first, since series are laid out by the hour.
const mostApart = 400 * 24

// Read checks what a field's own rules cannot say and sorts the containers, so that the order
// they were given in makes no difference.
func Read(all []*mlv1.ContainerUsage) ([]Container, error) {
	seen := map[string]bool{}
	containers := make([]Container, 0, len(all))
	first := int64(math.MinInt64)
	for i, u := range all {
		field := fmt.Sprintf("usage[%d]", i)
		id := u.GetNamespace() + "/" + u.GetKind() + "/" + u.GetName() + "/" + u.GetContainer()
		if seen[id] {
			return nil, fault.Invalid(field, "must name a container once: "+id)
		}
		seen[id] = true
		c := Container{ContainerUsage: u, Hours: make([]Hour, 0, len(u.GetHours()))}
		for j, h := range u.GetHours() {
			hour, at, constraint := readHour(h)
			if n := len(c.Hours); constraint == "" && n > 0 && c.Hours[n-1].At >= hour.At {
				at, constraint = "start", "must be later than the hour before it"
			}
			if first == math.MinInt64 {
				first = hour.At
			}
			if constraint == "" && max(hour.At-first, first-hour.At) > mostApart {
				at, constraint = "start", "must be within 400 days of all others"
			}
			if constraint != "" {
				return nil, fault.Invalid(fmt.Sprintf("%s.hours[%d].%s", field, j, at), constraint)
			}
			c.Hours = append(c.Hours, hour)
		}
		containers = append(containers, c)
	}
	slices.SortFunc(containers, func(a, b Container) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetKind(), b.GetKind()),
			cmp.Compare(a.GetName(), b.GetName()), cmp.Compare(a.GetContainer(), b.GetContainer()))
	})
	return containers, nil
}

// readHour says which field violates what, if one does. Names are made up only then: a large cluster
// has a million hours.
func readHour(h *mlv1.UsageHour) (hour Hour, field, constraint string) {
	start := h.GetStart()
	if start.GetSeconds()%3600 != 0 || start.GetNanos() != 0 {
		return hour, "start", "must be a whole hour of UTC"
	}
	if field, constraint = checkHistogram(h.GetCpu()); constraint != "" {
		return hour, "cpu." + field, constraint
	}
	if field, constraint = checkHistogram(h.GetMemory()); constraint != "" {
		return hour, "memory." + field, constraint
	}
	hour.At = start.GetSeconds() / 3600
	if h.GetCpu().GetSamples() > 0 {
		hour.CPU = h.GetCpu()
	}
	if h.GetMemory().GetSamples() > 0 {
		hour.Memory = h.GetMemory()
	}
	return hour, "", ""
}

func checkHistogram(h *mlv1.UsageHistogram) (field, constraint string) {
	if len(h.GetBuckets()) != len(h.GetCounts()) {
		return "counts", "must be as many as buckets"
	}
	sum, last := int64(0), int32(-1)
	for i, bucket := range h.GetBuckets() {
		if bucket <= last || bucket >= histogram.Buckets {
			return fmt.Sprintf("buckets[%d]", i), "must be ascending, to 400"
		}
		last = bucket
		sum += int64(h.GetCounts()[i])
	}
	if sum != h.GetSamples() {
		return "samples", fmt.Sprintf("must be the sum of counts, %d", sum)
	}
	// One bucket off: the caller's powers may round otherwise.
	if highest := h.GetMax(); last >= 0 && (highest < histogram.Lower(max(0, int(last)-1)) || last < histogram.Buckets-2 && highest >= histogram.Upper(int(last)+1)) {
		return "max", fmt.Sprintf("must be in the last bucket, %d", last)
	}
	return "", ""
}

// Workload that the container is of, as namespace/kind/name.
func (c Container) Workload() string {
	return c.GetNamespace() + "/" + c.GetKind() + "/" + c.GetName()
}
