// Package guard is how far CloudOptim may go by itself, and what stops it.
//
// The rules are pure: policies, windows, budgets and stops in, one answer out. Whoever
// is about to change something asks just before, each time.
package guard

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// Modes, from the one that does nothing to the one that asks nobody.
const (
	ReadOnly  = "read_only"
	Recommend = "recommend"
	Approve   = "approve"
	Automatic = "automatic"
)

var modes = []string{ReadOnly, Recommend, Approve, Automatic}

// Below tells whether a mode goes less far than another.
func Below(mode, other string) bool { return slices.Index(modes, mode) < slices.Index(modes, other) }

// Defaults hold where nothing was set.
func Defaults() *adminv1.PolicyValues {
	return &adminv1.PolicyValues{
		Mode: proto.String(ReadOnly), Budgets: &adminv1.DisruptionBudgets{Budgets: []*adminv1.DisruptionBudget{{Nodes: "10%"}}},
		Windows: &adminv1.DisruptionWindows{}, StaleAfterSeconds: proto.Int32(60), MinSavingsRatio: proto.Float64(0.05),
		PlanEveryMinutes: proto.Int32(60), Engines: &adminv1.PlanEngines{Names: []string{"spot_optimize", "bin_pack"}},
	}
}

// Policy is what holds in a cluster.
type Policy struct {
	// Values, every one set.
	Values *adminv1.PolicyValues
	// Sources of the values, by the name of the field; a default's is nil.
	Sources map[string]*adminv1.Policy

	// namespaces have modes of their own.
	namespaces map[string]*adminv1.Policy
	windows    []window
	budgets    []budget
}

// Resolve makes one of what was set, from the outermost scope in. An error means that
// what was stored cannot be read: nothing may be done then.
func Resolve(layers []*adminv1.Policy) (*Policy, error) {
	p := &Policy{Values: Defaults(), Sources: map[string]*adminv1.Policy{}, namespaces: map[string]*adminv1.Policy{}}
	for _, layer := range layers {
		if layer.GetNamespace() != "" {
			p.namespaces[layer.GetNamespace()] = layer
			continue
		}
		p.take(layer)
	}
	var err error
	if p.windows, err = readWindows(p.Values.GetWindows()); err != nil {
		return nil, err
	}
	p.budgets, err = readBudgets(p.Values.GetBudgets())
	return p, err
}

// take what a layer sets.
func (p *Policy) take(layer *adminv1.Policy) {
	into := p.Values.ProtoReflect()
	from := layer.GetValues().ProtoReflect()
	fields := from.Descriptor().Fields()
	for i := range fields.Len() {
		if field := fields.Get(i); from.Has(field) {
			into.Set(field, from.Get(field))
			p.Sources[string(field.Name())] = layer
		}
	}
}

// Mode of the cluster.
func (p *Policy) Mode() string { return p.Values.GetMode() }

// ModeIn a namespace, which never goes further than the cluster's, and the policy that
// says so; nil: that of the cluster.
func (p *Policy) ModeIn(namespace string) (string, *adminv1.Policy) {
	own := p.namespaces[namespace]
	if mode := own.GetValues().GetMode(); mode != "" && Below(mode, p.Mode()) {
		return mode, own
	}
	return p.Mode(), nil
}

// Pinned tells whether pods of a namespace stay where they are: of plans that run by
// themselves, and of those that a person lets run.
func (p *Policy) Pinned(namespace string, byItself bool) bool {
	mode, own := p.ModeIn(namespace)
	return own != nil && (Below(mode, Approve) || (byItself && Below(mode, Automatic)))
}

// StaleAfter is the oldest state that is acted on.
func (p *Policy) StaleAfter() time.Duration {
	return time.Duration(p.Values.GetStaleAfterSeconds()) * time.Second
}

// PlanEvery is how often plans are looked for unasked.
func (p *Policy) PlanEvery() time.Duration {
	return time.Duration(p.Values.GetPlanEveryMinutes()) * time.Minute
}

// maxSpans bounds what has to be looked through for the next change of the windows.
const maxSpans = 128

// Check refuses what the contract's rules cannot: zones and dates that do not exist, and
// values that a scope cannot have.
func Check(policy *adminv1.Policy) error {
	values := policy.GetValues()
	if policy.GetNamespace() != "" {
		if policy.GetClusterId() == "" {
			return fault.Invalid("policy.cluster_id", "must be given with a namespace")
		}
		if rest := proto.CloneOf(values); rest != nil {
			rest.Mode = nil
			if proto.Size(rest) > 0 {
				return fault.Invalid("policy.values", "only mode may be set for a namespace")
			}
		}
	}
	spans := 0
	for _, w := range values.GetWindows().GetWindows() {
		spans += max(1, len(w.GetDuring().GetSpans()))
	}
	for _, b := range values.GetBudgets().GetBudgets() {
		spans += len(b.GetDuring().GetSpans())
	}
	if spans > maxSpans {
		return fault.Invalid("policy.values", "must have at most 128 spans in all")
	}
	if _, err := readWindows(values.GetWindows()); err != nil {
		return fault.Invalid("policy.values.windows", err.Error())
	}
	if _, err := readBudgets(values.GetBudgets()); err != nil {
		return fault.Invalid("policy.values.budgets", err.Error())
	}
	return nil
}

// Empty tells whether values set nothing.
func Empty(values *adminv1.PolicyValues) bool {
	if values == nil {
		return true
	}
	set := false
	fields := values.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		set = set || values.ProtoReflect().Has(fields.Get(i))
	}
	return !set
}
