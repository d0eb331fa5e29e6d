package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cloudoptim/cloudoptim/gen/centraldb"
	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// NewModel is an uploaded file that ml has checked.
type NewModel struct {
	Name, Format, SHA256 string
	Content              []byte
	Checked              *mlv1.CheckModelResponse
	By                   string
}

// AddModel keeps a model; false: these bytes are kept already, and what the check
// found is noted anew.
func (s *Store) AddModel(ctx context.Context, m NewModel) (*adminv1.Model, bool, error) {
	checked, err := encode(m.Checked)
	if err != nil {
		return nil, false, wrap("encoding the check of model", m.Name, err)
	}
	var kept *adminv1.Model
	var rows int64
	err = s.InTx(ctx, func(tx *Store) error {
		rows, err = tx.q.ModelCreate(ctx, tx.db, centraldb.ModelCreateParams{
			Sha256: m.SHA256, Name: m.Name, Kind: m.Checked.GetKind(), Format: m.Format, SizeBytes: int64(len(m.Content)),
			Content: m.Content, Checked: checked, SchemaOk: m.Checked.GetSchemaOk(), CreatedBy: m.By,
		})
		if err != nil {
			return wrap("keeping model", m.Name, err)
		}
		version := m.SHA256[:16]
		if rows == 0 {
			if err := tx.RecheckModel(ctx, version, m.Checked); err != nil {
				return err
			}
		}
		kept, err = tx.Model(ctx, version)
		return err
	})
	return kept, rows > 0, err
}

// RecheckModel notes what a later check found.
func (s *Store) RecheckModel(ctx context.Context, version string, checked *mlv1.CheckModelResponse) error {
	raw, err := encode(checked)
	if err != nil {
		return wrap("encoding the check of model", version, err)
	}
	return wrap("checking model", version, s.q.ModelChecked(ctx, s.db, centraldb.ModelCheckedParams{
		Checked: raw, SchemaOk: checked.GetSchemaOk(), ModelVersion: version,
	}))
}

// Models is a page of them, newest first, and the next page's token.
func (s *Store) Models(ctx context.Context, page Page) ([]*adminv1.Model, string, error) {
	at, err := page.After.moment()
	if err != nil {
		return nil, "", err
	}
	after := ""
	if page.After != nil {
		after = page.After.ID
	}
	rows, err := s.q.ModelList(ctx, s.db, centraldb.ModelListParams{AfterVersion: after, AfterAt: at, MaxRows: int32(page.Limit + 1)})
	if err != nil {
		return nil, "", wrap("listing", "models", err)
	}
	rows, token, err := Cut(page, rows, func(row centraldb.ModelListRow) Cursor { return dated("", row.CreatedAt, row.ModelVersion) })
	if err != nil {
		return nil, "", wrap("listing", "models", err)
	}
	all := make([]*adminv1.Model, 0, len(rows))
	for _, row := range rows {
		model, err := toModel(centraldb.ModelByVersionRow(row))
		if err != nil {
			return nil, "", err
		}
		all = append(all, model)
	}
	return all, token, nil
}

// Model is one version, without its bytes.
func (s *Store) Model(ctx context.Context, version string) (*adminv1.Model, error) {
	row, err := s.q.ModelByVersion(ctx, s.db, version)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound("model", version)
	}
	if err != nil {
		return nil, wrap("reading model", version, err)
	}
	return toModel(row)
}

// ModelContent is the bytes of a version.
func (s *Store) ModelContent(ctx context.Context, version string) ([]byte, error) {
	row, err := s.q.ModelContent(ctx, s.db, version)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fault.NotFound("model", version)
	}
	return row.Content, wrap("reading model", version, err)
}

func toModel(row centraldb.ModelByVersionRow) (*adminv1.Model, error) {
	var checked mlv1.CheckModelResponse
	if err := decode(row.Checked, &checked); err != nil {
		return nil, wrap("decoding the check of model", row.ModelVersion, err)
	}
	return &adminv1.Model{
		ModelVersion: row.ModelVersion, Name: row.Name, Kind: row.Kind, Format: row.Format, Sha256: row.Sha256, SizeBytes: row.SizeBytes,
		State: row.State, Features: checked.GetFeatures(), SchemaOk: row.SchemaOk, Findings: checked.GetFindings(),
		Trees: checked.GetTrees(), Nodes: checked.GetNodes(), TrainingMetrics: checked.GetTrainingMetrics(),
		CreatedAt: timestamppb.New(row.CreatedAt), CreatedBy: row.CreatedBy, PromotedAt: stamp(row.PromotedAt), PromotedBy: row.PromotedBy,
		RetiredAt: stamp(row.RetiredAt), RetiredBy: row.RetiredBy, ReplacedVersion: value(row.ReplacedVersion),
	}, nil
}
