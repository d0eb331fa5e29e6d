package admin

import (
	"context"

	"github.com/google/uuid"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/central/internal/auth"
	"github.com/cloudoptim/cloudoptim/services/central/internal/store"
)

// spotInterruption is the one kind of model there is.
const spotInterruption = "spot_interruption"

// ListModels lists the newest first, with how those in use do. An ml that does not
// answer leaves that out.
func (s *Server) ListModels(ctx context.Context, req *adminv1.ListModelsRequest) (*adminv1.ListModelsResponse, error) {
	page, err := store.NewPage(req.GetPageSize(), req.GetPageToken(), "")
	if err != nil {
		return nil, err
	}
	found, token, err := s.Store.Models(ctx, page)
	if err != nil {
		return nil, err
	}
	s.measure(ctx, found...)
	return &adminv1.ListModelsResponse{Models: found, NextPageToken: token}, rpc.SetNextPage(ctx, token)
}

// measure adds how models in use do.
func (s *Server) measure(ctx context.Context, found ...*adminv1.Model) {
	ctx, cancel := context.WithTimeout(ctx, healthWithin)
	defer cancel()
	answer, err := mlv1.NewModelServiceClient(s.ML).ListModelMetrics(ctx, &mlv1.ListModelMetricsRequest{})
	if err != nil {
		s.Log.DebugContext(ctx, "ml does not say how models do", "error", err)
		return
	}
	for _, metrics := range answer.GetModels() {
		for _, model := range found {
			if model.GetModelVersion() == metrics.GetModelVersion() {
				model.Metrics = metrics
			}
		}
	}
}

// ShadowModel lets a model predict beside the live one, once ml has checked it anew.
func (s *Server) ShadowModel(ctx context.Context, req *adminv1.ShadowModelRequest) (*adminv1.ShadowModelResponse, error) {
	if err := s.recheck(ctx, req.GetModelVersion(), store.ModelShadow); err != nil {
		return nil, err
	}
	model, err := s.move(ctx, "model.shadow", func(tx *store.Store, by string) (store.Moved, error) {
		return tx.ShadowModel(ctx, req.GetModelVersion(), by)
	})
	return &adminv1.ShadowModelResponse{Model: model}, err
}

// PromoteModel makes a model live, once ml has checked it anew.
func (s *Server) PromoteModel(ctx context.Context, req *adminv1.PromoteModelRequest) (*adminv1.PromoteModelResponse, error) {
	if err := s.recheck(ctx, req.GetModelVersion(), store.ModelLive); err != nil {
		return nil, err
	}
	model, err := s.move(ctx, "model.promote", func(tx *store.Store, by string) (store.Moved, error) {
		return tx.PromoteModel(ctx, req.GetModelVersion(), req.GetExpectedLiveVersion(), by)
	})
	return &adminv1.PromoteModelResponse{Model: model}, err
}

// RollBackModel goes back to the model before. It must work when ml does not, so
// nothing is checked anew: replicas refuse what they cannot load.
func (s *Server) RollBackModel(ctx context.Context, req *adminv1.RollBackModelRequest) (*adminv1.RollBackModelResponse, error) {
	model, err := s.move(ctx, "model.roll_back", func(tx *store.Store, by string) (store.Moved, error) {
		return tx.RollBackModel(ctx, spotInterruption, req.GetExpectedLiveVersion(), by)
	})
	return &adminv1.RollBackModelResponse{Model: model}, err
}

// RetireModel takes a model out of use; it needs no ml either.
func (s *Server) RetireModel(ctx context.Context, req *adminv1.RetireModelRequest) (*adminv1.RetireModelResponse, error) {
	model, err := s.move(ctx, "model.retire", func(tx *store.Store, by string) (store.Moved, error) {
		return tx.RetireModel(ctx, req.GetModelVersion(), by)
	})
	return &adminv1.RetireModelResponse{Model: model}, err
}

// move a model, and tell the audit log of what changed.
func (s *Server) move(ctx context.Context, action string, change func(tx *store.Store, by string) (store.Moved, error)) (*adminv1.Model, error) {
	var moved store.Moved
	err := s.Store.InTx(ctx, func(tx *store.Store) (err error) {
		by := auth.From(ctx).Actor()
		moved, err = change(tx, by)
		if err != nil || !moved.Changed {
			return err
		}
		if err := tx.Tell(ctx, uuid.Nil, &adminv1.StreamResponse{
			Type: "model", Status: moved.Model.GetState(), Subject: moved.Model.GetModelVersion(), Actor: by,
			Message: "model " + moved.Model.GetName() + " is " + moved.Model.GetState(),
		}); err != nil {
			return err
		}
		return tx.Audit(ctx, store.Act{
			Actor: by, Action: action, Subject: moved.Model.GetModelVersion(),
			Detail: map[string]any{"name": moved.Model.GetName(), "live_before": moved.Before},
		})
	})
	if err != nil {
		return nil, err
	}
	s.measure(ctx, moved.Model)
	return moved.Model, nil
}

// recheck a model that is about to be used: ml may have learned or forgotten
// features since the upload. Of one that is in that state already, it does nothing.
func (s *Server) recheck(ctx context.Context, version, state string) error {
	model, err := s.Store.Model(ctx, version)
	if err != nil || model.GetState() == state {
		return err
	}
	content, err := s.Store.ModelContent(ctx, version)
	if err != nil {
		return err
	}
	checked, err := s.check(ctx, model.GetFormat(), model.GetSha256(), content)
	if err != nil {
		return err
	}
	return s.Store.RecheckModel(ctx, version, checked)
}
