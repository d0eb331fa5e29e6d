package interruption

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// outcomeOf a drain, as the agent tells it: drained, forced, blocked, failed or
// node_gone, and what was in the way.
func outcomeOf(got store.TaskOutcome) (outcome, trouble string) {
	report := reportOf(got.Result)
	switch {
	case report.GetPhase() == "node_gone":
		return "node_gone", ""
	case got.Status == "success" && report.GetForced() > 0:
		return "forced", ""
	case got.Status == "success":
		return "drained", ""
	case report.GetBlocked() > 0:
		return "blocked", orElse(held(report), got.Result.GetError())
	default:
		return "failed", got.Status + ": " + orElse(got.Result.GetError(), "no word from the agent")
	}
}

// reportOf a result; an empty one when the agent has sent something else.
func reportOf(result *fleetv1.TaskResult) *fleetv1.DrainReport {
	report := &fleetv1.DrainReport{}
	raw, err := protojson.Marshal(result.GetMetadata())
	if err != nil || (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(raw, report) != nil {
		return &fleetv1.DrainReport{}
	}
	return report
}

// moved are the pods that a drain saw go, by UID.
func moved(result *fleetv1.TaskResult) map[string]bool {
	gone := map[string]bool{}
	for _, pod := range reportOf(result).GetPods() {
		if pod.GetState() == "gone" {
			gone[pod.GetUid()] = true
		}
	}
	return gone
}

// held says which pods are held, and by what.
func held(report *fleetv1.DrainReport) string {
	var out []string
	for _, pod := range report.GetPods() {
		if pod.GetState() == "blocked" {
			out = append(out, pod.GetNamespace()+"/"+pod.GetName()+": "+pod.GetReason())
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}
