package tasks

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	agentv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/agent/v1"
)

// SetStop takes the stop that holds; nil: none does. What disrupts is broken off,
// what waits is cancelled. Lifting one takes nothing up again: central asks anew.
func (r *Runner) SetStop(stop *agentv1.SafetyStop) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stop = proto.CloneOf(stop)
	if stop == nil {
		return
	}
	for _, t := range r.tasks {
		if t.Result != nil || t.job == nil {
			continue
		}
		err := r.stopped(t)
		switch {
		case err == nil:
		case t.running:
			t.cancel(err)
		case !t.resumed:
			r.finish(t, outcome{status: "cancelled", err: err.Error()})
		}
	}
}

// stopped says why a task must not be done now. Callers hold r.mu.
func (r *Runner) stopped(t *task) error {
	if r.stop == nil || !disrupts(t) {
		return nil
	}
	switch t.Task.GetCause() {
	case "undo":
		return nil
	case "interruption":
		if !r.stop.GetIncludeInterruptions() {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", errStopped, r.stop.GetReason())
}

// disrupts says whether a task takes something away from what runs in the cluster.
func disrupts(t *task) bool {
	switch t.Task.GetTaskType() {
	case "drain_node", "cordon_node", "taint_node":
		return true
	case "scale_workload":
		return t.Task.GetParameters().GetFields()["action"].GetStringValue() != "wake"
	}
	return false
}
