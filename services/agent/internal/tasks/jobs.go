package tasks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	fleetv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fleet/v1"
	"github.com/cloudoptim/cloudoptim/services/agent/internal/drain"
)

// job is a task that was understood.
type job interface {
	// subject is what it works on, a node or a workload: one task at a time does.
	subject() string
	// prepare does what must not wait for a turn, and says whether the rest must.
	prepare(ctx context.Context) (turn bool)
	do(ctx context.Context) outcome
	progress() (fraction float64, line string, report *fleetv1.DrainReport)
}

// outcome is the part of a TaskResult that the step decides.
type outcome struct {
	status, err, logs string
	metadata          *structpb.Struct
}

// prepare turns a task into a job.
func (r *Runner) prepare(t *task) (job, error) {
	switch t.Task.GetTaskType() {
	case "label_node":
		p := &fleetv1.LabelNodeParameters{}
		return r.editJob(t, p, func() edit { return labelEdit(p) })
	case "taint_node":
		p := &fleetv1.TaintNodeParameters{}
		return r.editJob(t, p, func() edit { return taintEdit(p) })
	case "cordon_node":
		p := &fleetv1.CordonNodeParameters{}
		return r.editJob(t, p, func() edit { return cordonEdit(p, t.Task.GetTaskId()) })
	case "uncordon_node":
		p := &fleetv1.UncordonNodeParameters{}
		return r.editJob(t, p, func() edit { return uncordonEdit(p) })
	case "drain_node":
		return r.drainJob(t)
	case "scale_workload":
		return r.scaleJob(t)
	}
	return nil, fmt.Errorf("unsupported task type %q", t.Task.GetTaskType())
}

// decode fills and checks a parameter message; a field it does not have is an
// error, as obeying half of an order is worse than refusing it.
func decode(from *structpb.Struct, into proto.Message) error {
	text, err := from.MarshalJSON()
	if err != nil {
		return fmt.Errorf("reading parameters: %w", err)
	}
	if err := protojson.Unmarshal(text, into); err != nil {
		return fmt.Errorf("reading parameters: %w", err)
	}
	if err := protovalidate.Validate(into); err != nil {
		return fmt.Errorf("checking parameters: %w", err)
	}
	return nil
}

type drainJob struct {
	params *fleetv1.DrainNodeParameters
	urgent bool
	drain  *drain.Drain
	notes  *notes
}

func (r *Runner) drainJob(t *task) (job, error) {
	p := &fleetv1.DrainNodeParameters{}
	if err := decode(t.Task.GetParameters(), p); err != nil {
		return nil, err
	}
	n := &notes{}
	urgent := p.GetForce() || time.Until(t.until) < hurry
	return &drainJob{params: p, urgent: urgent, notes: n, drain: r.cfg.Drains.New(drain.Request{
		TaskID: t.Task.GetTaskId(), Attempt: t.Task.GetAttempt(), Priority: t.Task.GetPriority(), Local: t.Local, Cause: t.Task.GetCause(),
		Parameters: p, Deadline: t.until, Note: n.add,
	})}, nil
}

func (j *drainJob) subject() string { return j.params.GetNodeName() }

// prepare cordons. A node that will be lost soon is not held back for others.
func (j *drainJob) prepare(ctx context.Context) bool {
	ended, err := j.drain.Mark(ctx)
	return ended == nil && err == nil && !j.urgent
}

func (j *drainJob) progress() (float64, string, *fleetv1.DrainReport) { return j.drain.Progress() }

func (j *drainJob) do(ctx context.Context) outcome {
	var ended drain.Outcome
	err := context.Cause(ctx)
	if err == nil {
		ended, err = j.drain.Run(ctx)
	}
	out := outcome{status: ended.Status, err: ended.Error}
	if err != nil {
		if errors.Is(err, errStopping) {
			return outcome{} // the record stays as it is for the next process
		}
		out.status, out.err = "cancelled", err.Error()
	}
	j.close(ctx, out.status, err)
	report := j.drain.Report()
	out.metadata = asStruct(report)
	out.logs = j.notes.String()
	return out
}

// close writes the end on the node, or undoes what the drain did there: where the
// task says so, and where it was withdrawn or a stop holds. What another drain takes over stays.
func (j *drainJob) close(ctx context.Context, status string, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	phase, undo := drain.Blocked, j.params.GetUncordonOnFailure() || errors.Is(cause, errCancelled) || errors.Is(cause, errStopped)
	switch {
	case status == drain.Success:
		phase, undo = drain.Done, false
	case errors.Is(cause, errSuperseded):
		phase, undo = drain.Superseded, false
	}
	if err := j.drain.Close(ctx, phase, undo); err != nil {
		j.notes.add("the end of the drain could not be written on the node: %v", err)
	}
}

func asStruct(m proto.Message) *structpb.Struct {
	text, err := protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true}.Marshal(m)
	if err != nil {
		return nil // only invalid UTF-8, which Kubernetes names cannot be
	}
	s := &structpb.Struct{}
	if err := s.UnmarshalJSON(text); err != nil {
		return nil
	}
	return s
}

// adopted makes a task of the record that a drain left on its node.
func adopted(mark drain.Record, clusterID string) (*Record, error) {
	parameters := &structpb.Struct{}
	if err := json.Unmarshal(mark.Parameters, parameters); err != nil {
		return nil, fmt.Errorf("reading the drain record of task %s: %w", mark.TaskID, err)
	}
	return &Record{
		Task: &fleetv1.Task{
			TaskId: mark.TaskID, ClusterId: clusterID, TaskType: "drain_node", Parameters: parameters,
			Priority: mark.Priority, Attempt: mark.Attempt, Cause: mark.Cause,
		},
		Deadline: mark.Deadline, Started: mark.Started, Local: mark.Local,
	}, nil
}

// notes are the lines of a result's logs.
type notes struct {
	mu   sync.Mutex
	text strings.Builder
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.text.Len() > 256<<10 {
		return
	}
	fmt.Fprintf(&n.text, "%s %s\n", time.Now().UTC().Format("15:04:05.000"), fmt.Sprintf(format, args...))
}

func (n *notes) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

func toValid(s string) string { return strings.ToValidUTF8(s, "") }
