package forest

import "fmt"

// What a model may be at most. Every limit is checked before memory is taken for
// what it limits, so that a file of MaxBytes costs a small multiple of its length,
// and a prediction at most MaxSteps nodes.
const (
	// MaxBytes of a file.
	MaxBytes = 64 << 20
	// MaxTrees of a model.
	MaxTrees = 10_000
	// MaxNodes of all trees together, leaves not counted.
	MaxNodes = 500_000
	// MaxDepth of a tree, in nodes.
	MaxDepth = 256
	// MaxSteps is the sum of all trees' depths: what one prediction costs at most.
	MaxSteps = 100_000
	// MaxFeatures of a model.
	MaxFeatures = 1024
	// MaxNameLength of a feature, in bytes.
	MaxNameLength = 128
	// MaxCategory is the largest category that a set may hold.
	MaxCategory = 1<<16 - 1
	// MaxSetWords of all sets together, in 64 bits.
	MaxSetWords = 1 << 17
	// MaxCategories listed in all sets together.
	MaxCategories = 1 << 20
	// MaxCalibration points.
	MaxCalibration = 4096
	// MaxNotes and metrics, each.
	MaxNotes = 64
	// MaxNoteLength of a note's or metric's name or text, in bytes.
	MaxNoteLength = 16 << 10
	// maxValue of a leaf times its tree's weight, and of a base margin: sums of
	// MaxTrees stay finite in float32 too.
	maxValue = 1e30
)

// Refusal is why a model is not taken.
type Refusal struct {
	// Field that is wrong, e.g. trees[3].nodes[5].threshold.
	Field string
	// At is its place in the file, e.g. line 12 or byte 1042; empty: unknown.
	At string
	// Reason in words.
	Reason string
}

// Error says all of it.
func (r *Refusal) Error() string {
	if r.At == "" {
		return r.Field + ": " + r.Reason
	}
	return r.Field + " (" + r.At + "): " + r.Reason
}

func refuse(field, reason string, args ...any) error {
	return &Refusal{Field: field, Reason: fmt.Sprintf(reason, args...)}
}
