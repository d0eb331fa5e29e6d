package store

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"testing"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// upload keeps a model of these bytes.
func (h *house) upload(t *testing.T, content string, schemaOK bool) string {
	t.Helper()
	model, _, err := h.AddModel(t.Context(), newModel(content, schemaOK))
	must(t, err)
	return model.GetModelVersion()
}

func newModel(content string, schemaOK bool) NewModel {
	sum := sha256.Sum256([]byte(content))
	return NewModel{
		Name: "m", Format: "cloudoptim", SHA256: hex.EncodeToString(sum[:]), Content: []byte(content), By: "platform:1",
		Checked: &mlv1.CheckModelResponse{
			Kind: "spot_interruption", Features: []string{"age"}, SchemaOk: schemaOK, Findings: []string{"f"}, Trees: 3, Nodes: 7,
			TrainingMetrics: map[string]float64{"auc": 0.9},
		},
	}
}

// states of all models by version.
func (h *house) states(t *testing.T) map[string]*adminv1.Model {
	t.Helper()
	all, _, err := h.Models(t.Context(), Page{Limit: 100})
	must(t, err)
	by := map[string]*adminv1.Model{}
	for _, m := range all {
		by[m.GetModelVersion()] = m
	}
	return by
}

func (h *house) wantStates(t *testing.T, want map[string]string) {
	t.Helper()
	for version, model := range h.states(t) {
		equal(t, "state of "+version, model.GetState(), want[version])
		equal(t, "retired_at of "+version, model.GetRetiredAt() != nil, want[version] == ModelRetired)
	}
}

func wantConflict(t *testing.T, what string, err error) {
	t.Helper()
	if fault.ReasonOf(err) != faultv1.Reason_REASON_CONFLICT {
		t.Errorf("%s: %v, want CONFLICT", what, err)
	}
}

func TestTheSameBytesAreTheSameVersion(t *testing.T) {
	h := newHouse(t)
	first, created, err := h.AddModel(t.Context(), newModel("bytes", false))
	must(t, err)
	equal(t, "created", created, true)
	equal(t, "state", first.GetState(), ModelUploaded)
	equal(t, "size", first.GetSizeBytes(), int64(5))
	equal(t, "usable", first.GetSchemaOk(), false)
	equal(t, "auc", first.GetTrainingMetrics()["auc"], 0.9)
	equal(t, "nodes", first.GetNodes(), int32(7))
	again := newModel("bytes", true)
	again.Name, again.By = "another", "platform:2"
	second, created, err := h.AddModel(t.Context(), again)
	must(t, err)
	equal(t, "created again", created, false)
	equal(t, "version", second.GetModelVersion(), first.GetModelVersion())
	equal(t, "name", second.GetName(), "m")
	equal(t, "by", second.GetCreatedBy(), "platform:1")
	equal(t, "usable after the later check", second.GetSchemaOk(), true)
	equal(t, "rows", h.count(t, "SELECT count(*) FROM models"), 1)
	content, err := h.ModelContent(t.Context(), first.GetModelVersion())
	must(t, err)
	equal(t, "content", string(content), "bytes")
}

func TestAModelsLifeFromUploadToRollBack(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	a, b, c := h.upload(t, "a", true), h.upload(t, "b", true), h.upload(t, "c", true)
	_, err := h.ShadowModel(ctx, a, "op")
	must(t, err)
	h.wantStates(t, map[string]string{a: ModelShadow, b: ModelUploaded, c: ModelUploaded})
	_, err = h.ShadowModel(ctx, b, "op")
	must(t, err)
	h.wantStates(t, map[string]string{a: ModelUploaded, b: ModelShadow, c: ModelUploaded})
	moved, err := h.PromoteModel(ctx, a, NoModel, "op")
	must(t, err)
	equal(t, "live before", moved.Before, "")
	moved, err = h.PromoteModel(ctx, b, a, "op")
	must(t, err)
	equal(t, "live before", moved.Before, a)
	equal(t, "replaced", moved.Model.GetReplacedVersion(), a)
	equal(t, "promoted by", moved.Model.GetPromotedBy(), "op")
	h.wantStates(t, map[string]string{a: ModelRetired, b: ModelLive, c: ModelUploaded})
	_, err = h.PromoteModel(ctx, c, b, "op")
	must(t, err)

	moved, err = h.RollBackModel(ctx, "spot_interruption", c, "op")
	must(t, err)
	equal(t, "rolled back to", moved.Model.GetModelVersion(), b)
	h.wantStates(t, map[string]string{a: ModelRetired, b: ModelLive, c: ModelRetired})
	moved, err = h.RollBackModel(ctx, "spot_interruption", "", "op")
	must(t, err)
	equal(t, "rolled back further to", moved.Model.GetModelVersion(), a)
	h.wantStates(t, map[string]string{a: ModelLive, b: ModelRetired, c: ModelRetired})
	_, err = h.RollBackModel(ctx, "spot_interruption", "", "op")
	wantConflict(t, "rolling back beyond the first", err)

	moved, err = h.ShadowModel(ctx, b, "op") // a retired one may come back
	must(t, err)
	equal(t, "shadow", moved.Model.GetState(), ModelShadow)
	_, err = h.ShadowModel(ctx, c, "op")
	must(t, err)
	h.wantStates(t, map[string]string{a: ModelLive, b: ModelRetired, c: ModelShadow})
	_, err = h.RetireModel(ctx, a, "op")
	must(t, err)
	h.wantStates(t, map[string]string{a: ModelRetired, b: ModelRetired, c: ModelShadow})
	_, err = h.RollBackModel(ctx, "spot_interruption", "", "op")
	wantConflict(t, "rolling back from nothing", err)
}

func TestWhatIsSoAlreadyChangesNothing(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	a := h.upload(t, "a", true)
	for _, move := range []func() (Moved, error){
		func() (Moved, error) { return h.ShadowModel(ctx, a, "op") },
		func() (Moved, error) { return h.PromoteModel(ctx, a, "", "op") },
		func() (Moved, error) { return h.RetireModel(ctx, a, "op") },
	} {
		first, err := move()
		must(t, err)
		again, err := move()
		must(t, err)
		equal(t, "changed", first.Changed, true)
		equal(t, "changed again", again.Changed, false)
		equal(t, "state", again.Model.GetState(), first.Model.GetState())
		equal(t, "promoted", again.Model.GetPromotedAt().AsTime(), first.Model.GetPromotedAt().AsTime())
	}
}

func TestAModelThatDoesNotFitOrIsNotExpectedIsRefused(t *testing.T) {
	h := newHouse(t)
	ctx := t.Context()
	good, bad := h.upload(t, "good", true), h.upload(t, "bad", false)
	_, err := h.PromoteModel(ctx, bad, "", "op")
	wantConflict(t, "promoting one that does not fit", err)
	_, err = h.ShadowModel(ctx, bad, "op")
	wantConflict(t, "shadowing one that does not fit", err)
	_, err = h.PromoteModel(ctx, good, bad, "op")
	wantConflict(t, "promoting with another live than expected", err)
	_, err = h.PromoteModel(ctx, good, "", "op")
	must(t, err)
	_, err = h.ShadowModel(ctx, good, "op")
	wantConflict(t, "shadowing the live one", err)
	_, err = h.RollBackModel(ctx, "spot_interruption", bad, "op")
	wantConflict(t, "rolling back with another live than expected", err)
	for what, call := range map[string]func(string) error{
		"shadow":  func(v string) error { _, err := h.ShadowModel(ctx, v, "op"); return err },
		"promote": func(v string) error { _, err := h.PromoteModel(ctx, v, "", "op"); return err },
		"retire":  func(v string) error { _, err := h.RetireModel(ctx, v, "op"); return err },
		"content": func(v string) error { _, err := h.ModelContent(ctx, v); return err },
	} {
		if err := call("0123456789abcdef"); fault.ReasonOf(err) != faultv1.Reason_REASON_NOT_FOUND {
			t.Errorf("%s of one that is not there: %v", what, err)
		}
	}
	// A model in use stays usable whatever a later check says: only one that is not is marked.
	must(t, h.RecheckModel(ctx, good, &mlv1.CheckModelResponse{}))
	equal(t, "live and usable", h.states(t)[good].GetSchemaOk(), true)
}

func TestPromotionsAtOnceLeaveOneLiveModel(t *testing.T) {
	h := newHouse(t)
	var versions []string
	for _, content := range []string{"a", "b", "c", "d", "e", "f"} {
		versions = append(versions, h.upload(t, content, true))
	}
	var all sync.WaitGroup
	for _, v := range versions {
		all.Go(func() {
			if _, err := h.PromoteModel(t.Context(), v, "", "op"); err != nil {
				t.Errorf("promoting %s: %v", v, err)
			}
		})
	}
	all.Wait()
	equal(t, "live", h.count(t, "SELECT count(*) FROM models WHERE state = 'live'"), 1)
	equal(t, "retired", h.count(t, "SELECT count(*) FROM models WHERE state = 'retired'"), 5)
	for range 5 { // each replaced the one before
		_, err := h.RollBackModel(t.Context(), "spot_interruption", "", "op")
		must(t, err)
	}
	equal(t, "live at the start", h.count(t, "SELECT count(*) FROM models WHERE state = 'live' AND replaced_version IS NULL"), 1)
}

func TestTheDatabaseKeepsTheRulesOfModels(t *testing.T) {
	h := newHouse(t)
	a, b := h.upload(t, "a", true), h.upload(t, "b", false)
	_, err := h.PromoteModel(t.Context(), a, "", "op")
	must(t, err)
	for name, sql := range map[string]string{
		"two live models":                   "UPDATE models SET state = 'live', promoted_at = now(), schema_ok = true WHERE model_version = '" + b + "'",
		"a shadow that does not fit":        "UPDATE models SET state = 'shadow' WHERE model_version = '" + b + "'",
		"retired without a time":            "UPDATE models SET state = 'retired' WHERE model_version = '" + b + "'",
		"a state unknown":                   "UPDATE models SET state = 'x' WHERE model_version = '" + b + "'",
		"a version that is not of its sum":  "UPDATE models SET model_version = 'ffffffffffffffff' WHERE model_version = '" + b + "'",
		"a size that is not of its content": "UPDATE models SET size_bytes = 7 WHERE model_version = '" + b + "'",
		"one that replaced itself":          "UPDATE models SET replaced_version = model_version",
	} {
		if _, err := h.db.Pool.Exec(t.Context(), sql); err == nil {
			t.Errorf("%s went through", name)
		}
	}
}
