package rightsize

import (
	"math"
	"time"

	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/figure"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/decide/usage"
)

const (
	// Memory at a kill was not enough: VPA's max(+20 %, +100 MB), which works in practice.
	oomShare, oomLeast = 1.2, 100 << 20
	// Sizes of a workload that minChange is for: a vCPU costs about what 8 to 9 GiB do.
	referenceCPU, referenceMemory = 1000, 8 * gib
)

// Notes of RequestChange, as the contract names them.
const (
	noteNeverFalls = "memory_never_falls"
	noteRecurring  = "recurring_peak"
	noteRestarts   = "restarts"
)

// review a container's requests.
func (a *answer) review(c usage.Container) *mlv1.RequestChange {
	out := &mlv1.RequestChange{
		Namespace: c.GetNamespace(), Kind: c.GetKind(), Name: c.GetName(), Container: c.GetContainer(),
		Replicas: c.GetReplicas(), Verdict: verdictKeep,
	}
	cpu, memory := a.resources(c)
	hours := max(cpu.estimate.hours, memory.estimate.hours)
	out.Days = figure.Digits(float64(hours) / 24)
	out.Confidence = a.confidence(c, hours)
	if !a.limits.looksAt(c.GetNamespace()) {
		out.Cpu = &mlv1.ResourceChange{From: cpu.from, To: cpu.from, Limit: cpu.limit, Verdict: verdictKeep, Reason: reasonExcluded}
		out.Memory = &mlv1.ResourceChange{From: memory.from, To: memory.from, Limit: memory.limit, Verdict: verdictKeep, Reason: reasonExcluded}
		return out
	}
	out.Cpu, out.Memory = cpu.decide(a.limits), memory.decide(a.limits)
	if out.Cpu.GetVerdict() == verdictChange || out.Memory.GetVerdict() == verdictChange {
		out.Verdict = verdictChange
	}
	replicas := float64(c.GetReplicas())
	out.SavingsPerMonth = figure.Cents(replicas * figure.HoursPerMonth *
		(float64(cpu.from-out.Cpu.GetTo())/1000*a.money.vcpu + float64(memory.from-out.Memory.GetTo())/gib*a.money.gib))
	out.Notes = notes(c, cpu.estimate, memory.estimate)
	return out
}

// resources of a container, CPU and memory.
func (a *answer) resources(c usage.Container) (cpu, memory *resource) {
	var ofCPU, ofMemory []point
	for _, h := range c.Hours {
		if h.CPU != nil {
			ofCPU = append(ofCPU, point{h.At, h.CPU})
		}
		if h.Memory != nil {
			ofMemory = append(ofMemory, point{h.At, h.Memory})
		}
	}
	cpu = &resource{
		from: c.GetRequests().GetCpuMillicores(), limit: c.GetLimits().GetCpuMillicores(), replicas: int(c.GetReplicas()),
		estimate: a.want.cpu.estimate(ofCPU, false), rule: a.want.cpu, unit: 1, reference: referenceCPU,
		daysToTake: daysToTakeCPU, tooYoung: reasonLittleData, bounds: a.limits.cpu, autoscaled: c.GetAutoscaledOnCpu(),
	}
	memory = &resource{
		from: c.GetRequests().GetMemoryBytes(), limit: c.GetLimits().GetMemoryBytes(), replicas: int(c.GetReplicas()),
		estimate: a.want.memory.estimate(ofMemory, true), rule: a.want.memory, unit: mib, reference: referenceMemory,
		floor: floorOf(c.GetOomKills()), daysToTake: daysToTakeMemory, tooYoung: reasonWeek,
		bounds: a.limits.memory, autoscaled: c.GetAutoscaledOnMemory(),
	}
	return cpu, memory
}

// floorOf kills: no request goes below what was too little, and some more.
func floorOf(kills []*mlv1.OutOfMemoryKill) int64 {
	floor := int64(0)
	for _, k := range kills {
		at := k.GetMemoryBytes()
		floor = max(floor, int64(math.Ceil(float64(at)*oomShare)), at+oomLeast)
	}
	return floor
}

func notes(c usage.Container, cpu, memory *estimate) []string {
	var all []string
	if memory.unfalling {
		all = append(all, noteNeverFalls)
	}
	if cpu.recurring || memory.recurring {
		all = append(all, noteRecurring)
	}
	if c.GetRestarts() > 0 {
		all = append(all, noteRestarts)
	}
	return all
}

const (
	// confidentDays of usage give 1−1/e of full confidence; three weeks 95 %.
	confidentDays = 7.0
	// Usage older than a day counts half for every further week.
	staleAfter, staleHalf = 24 * time.Hour, 7 * 24 * time.Hour
)

// confidence by how many days the hours come to and how old the last one is.
func (a *answer) confidence(c usage.Container, hours int) float64 {
	if hours == 0 {
		return 0
	}
	score := 1 - math.Exp(-float64(hours)/24/confidentDays)
	end := c.Hours[len(c.Hours)-1].Start().Add(time.Hour)
	if age := a.now.Sub(end) - staleAfter; age > 0 {
		score *= math.Exp2(-float64(age) / float64(staleHalf))
	}
	return figure.Digits(score)
}
