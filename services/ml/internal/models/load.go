package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/store"
)

var (
	errAway    = errors.New("its bytes cannot be read now")
	errChanged = errors.New("its bytes are not those that were uploaded")
)

// load a model aside. That a version cannot be used does not change, so it is found
// out once; that the database is away does.
func (r *Registry) load(ctx context.Context, row store.ModelInUse) (*Model, error) {
	if err, known := r.refused[row.Version]; known {
		return nil, err
	}
	content, err := r.Rows.ModelContent(ctx, row.Version)
	if err != nil {
		r.Log.WarnContext(ctx, "the model cannot be read", "version", row.Version, "error", err)
		return nil, errAway
	}
	model, err := r.make(row, content)
	if err != nil {
		r.refused[row.Version] = err
		r.Log.ErrorContext(ctx, "a model in use cannot be loaded: the one before it stays", "version", row.Version, "state", row.State, "error", err)
	}
	return model, err
}

func (r *Registry) make(row store.ModelInUse, content []byte) (*Model, error) {
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != row.SHA256 {
		return nil, errChanged
	}
	made, _, err := forest.Load(row.Format, content)
	if err != nil {
		return nil, err
	}
	predictor, err := r.build(made)
	if err != nil {
		return nil, err
	}
	return &Model{Version: row.Version, Kind: row.Kind, Forest: made, Predictor: predictor}, nil
}

// build a predictor of a forest that can be used as one.
func (r *Registry) build(made *forest.Forest) (Predictor, error) {
	if problems := unfit(made, r.Published); len(problems) > 0 {
		return nil, errors.New(strings.Join(problems, "; "))
	}
	return r.Build(made)
}

// unfit says what keeps a forest from foretelling interruptions.
func unfit(made *forest.Forest, published []string) []string {
	var problems []string
	if made.Objective() != forest.Binary {
		problems = append(problems, "the objective is "+string(made.Objective())+", and a probability is needed: train with a binary objective")
	}
	if missing := made.Unpublished(published); len(missing) > 0 {
		const most = 20
		problems = append(problems, fmt.Sprintf("%d of its %d features are not known here: %s",
			len(missing), len(made.Features()), strings.Join(missing[:min(len(missing), most)], ", ")))
	}
	return problems
}

// forget why versions were refused that are no longer in use: they may come back
// after an update of this server.
func (r *Registry) forget(rows []store.ModelInUse) {
	for version := range r.refused {
		if !slices.ContainsFunc(rows, func(row store.ModelInUse) bool { return row.Version == version }) {
			delete(r.refused, version)
		}
	}
}
