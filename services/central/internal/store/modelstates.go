package store

import (
	"context"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// States of a model, as the contract spells them.
const (
	ModelUploaded = "uploaded"
	ModelShadow   = "shadow"
	ModelLive     = "live"
	ModelRetired  = "retired"
)

// NoModel is how a caller says that it believes none to be live.
const NoModel = "none"

// Moved is a model after a change of state, and what else changed.
type Moved struct {
	Model *adminv1.Model
	// Changed is false where it was so already.
	Changed bool
	// Before is the live version before; empty: none.
	Before string
}

// ShadowModel makes a model the one that predicts beside the live one; the shadow
// before it steps back.
func (s *Store) ShadowModel(ctx context.Context, version, by string) (Moved, error) {
	return s.move(ctx, version, ModelShadow, func(tx *Store, m *adminv1.Model, live string) error {
		switch {
		case m.GetState() == ModelLive:
			return conflict("model %s is live; only another can shadow it", version).With("live_version", live)
		case !m.GetSchemaOk():
			return unusable(m)
		}
		if err := tx.stepBack(ctx, m.GetKind(), by); err != nil {
			return err
		}
		return tx.q.ModelShadow(ctx, tx.db, version)
	})
}

// PromoteModel makes a model live and retires the one before it. expected, if not
// empty, is what the caller believes is live.
func (s *Store) PromoteModel(ctx context.Context, version, expected, by string) (Moved, error) {
	return s.move(ctx, version, ModelLive, func(tx *Store, m *adminv1.Model, live string) error {
		if err := asExpected(expected, live); err != nil {
			return err
		}
		if !m.GetSchemaOk() {
			return unusable(m)
		}
		if err := tx.retire(ctx, live, by); err != nil {
			return err
		}
		return tx.q.ModelPromote(ctx, tx.db, centraldb.ModelPromoteParams{Actor: by, ReplacedVersion: text(live), ModelVersion: version})
	})
}

// RollBackModel makes the model live again that the live one replaced.
func (s *Store) RollBackModel(ctx context.Context, kind, expected, by string) (Moved, error) {
	var moved Moved
	err := s.InTx(ctx, func(tx *Store) error {
		live, replaced, err := tx.lockLive(ctx, kind)
		if err != nil {
			return err
		}
		if err := asExpected(expected, live); err != nil {
			return err
		}
		if replaced == "" {
			return conflict("no model was live before this one: there is nothing to roll back to; retire it to decide without a model").
				With("live_version", live)
		}
		target, err := tx.Model(ctx, replaced)
		if err != nil {
			return err
		}
		if !target.GetSchemaOk() { // a later ml may have found so
			return unusable(target)
		}
		if err := tx.retire(ctx, live, by); err != nil {
			return err
		}
		if err := tx.q.ModelRestore(ctx, tx.db, centraldb.ModelRestoreParams{Actor: by, ModelVersion: replaced}); err != nil {
			return wrap("rolling back to model", replaced, err)
		}
		moved = Moved{Changed: true, Before: live}
		moved.Model, err = tx.Model(ctx, replaced)
		return err
	})
	return moved, err
}

// RetireModel takes a model out of use.
func (s *Store) RetireModel(ctx context.Context, version, by string) (Moved, error) {
	return s.move(ctx, version, ModelRetired, func(tx *Store, _ *adminv1.Model, _ string) error { return tx.retire(ctx, version, by) })
}

// move a model to a state by one transaction, after those of others of its kind. Of
// one that is in that state, it changes nothing.
func (s *Store) move(ctx context.Context, version, state string, how func(tx *Store, m *adminv1.Model, live string) error) (Moved, error) {
	var moved Moved
	err := s.InTx(ctx, func(tx *Store) error {
		model, err := tx.Model(ctx, version)
		if err != nil {
			return err
		}
		if moved.Before, _, err = tx.lockLive(ctx, model.GetKind()); err != nil {
			return err
		}
		if moved.Model, err = tx.Model(ctx, version); err != nil { // as it is behind the lock
			return err
		}
		if moved.Model.GetState() == state {
			return nil
		}
		if err := how(tx, moved.Model, moved.Before); err != nil {
			return wrap("changing model", version, err)
		}
		moved.Changed = true
		moved.Model, err = tx.Model(ctx, version)
		return err
	})
	return moved, err
}

// lockLive waits for others that change models of the kind, and tells which one is
// live, and which one it replaced.
func (s *Store) lockLive(ctx context.Context, kind string) (live, replaced string, err error) {
	if err := s.q.ModelLock(ctx, s.db, kind); err != nil {
		return "", "", wrap("locking models of kind", kind, err)
	}
	rows, err := s.q.ModelLive(ctx, s.db, kind)
	if err != nil || len(rows) == 0 {
		return "", "", wrap("reading the live model of kind", kind, err)
	}
	return rows[0].ModelVersion, value(rows[0].ReplacedVersion), nil
}

func (s *Store) stepBack(ctx context.Context, kind, by string) error {
	return wrap("taking back the shadow of kind", kind, s.q.ModelStepBack(ctx, s.db, centraldb.ModelStepBackParams{Actor: by, Kind: kind}))
}

func (s *Store) retire(ctx context.Context, version, by string) error {
	if version == "" {
		return nil
	}
	return wrap("retiring model", version, s.q.ModelRetire(ctx, s.db, centraldb.ModelRetireParams{Actor: by, ModelVersion: version}))
}

func asExpected(expected, live string) error {
	if live == "" {
		live = NoModel
	}
	if expected == "" || expected == live {
		return nil
	}
	return conflict("another model is live than expected: it was changed meanwhile").With("live_version", live)
}

func unusable(m *adminv1.Model) error {
	return conflict("model %s did not pass the feature-schema check: train it on features that the predictor publishes, with a binary objective, "+
		"or update ml; then upload it again", m.GetModelVersion()).With("findings", list(m.GetFindings()))
}

func conflict(message string, args ...any) *fault.Error {
	return fault.New(faultv1.Reason_REASON_CONFLICT, message, args...)
}

// list as JSON has it.
func list(texts []string) []any {
	all := make([]any, 0, len(texts))
	for _, text := range texts {
		all = append(all, text)
	}
	return all
}
