package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"

	faultv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/fault/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
	"github.com/cloudoptim/cloudoptim/pkg/rpc"
	"github.com/cloudoptim/cloudoptim/services/ml/internal/models/forest"
)

// maxChecks at once: a hostile file takes a small multiple of its size in memory.
const maxChecks = 2

type checkStream = grpc.ClientStreamingServer[mlv1.CheckModelRequest, mlv1.CheckModelResponse]

// CheckModel reads a file that somebody uploaded. Nothing of it stays here.
func (s *Server) CheckModel(stream checkStream) error {
	select {
	case s.checks <- struct{}{}:
		defer func() { <-s.checks }()
	case <-stream.Context().Done():
		return stream.Context().Err()
	}
	file, content, err := receive(stream)
	if err != nil {
		return err
	}
	made, findings, err := forest.Load(file.GetFormat(), content)
	var refusal *forest.Refusal
	if errors.As(err, &refusal) {
		return fault.Invalid("file", refusal.Error()).With("place", refusal.Field).With("position", refusal.At)
	}
	if err != nil {
		return err
	}
	return stream.SendAndClose(s.describe(made, findings))
}

func (s *Server) describe(made *forest.Forest, findings []string) *mlv1.CheckModelResponse {
	trees, nodes, _, depth := made.Size()
	resp := &mlv1.CheckModelResponse{
		Kind: SpotInterruption, Objective: string(made.Objective()), Features: made.Features(), UnknownFeatures: made.Unpublished(s.registry.Published),
		Findings: findings, Trees: int32(trees), Nodes: int32(nodes), Depth: int32(depth), TrainingMetrics: made.Metrics(), Notes: made.Notes(),
	}
	problems := unfit(made, s.registry.Published)
	if len(problems) == 0 {
		if _, err := s.registry.Build(made); err != nil {
			problems = append(problems, fmt.Sprintf("it cannot be used for predictions: %s", err))
		}
	}
	resp.SchemaOk = len(problems) == 0
	resp.Findings = append(resp.Findings, problems...)
	return resp
}

// receive the whole file and compare its checksum, before anything looks inside.
func receive(stream checkStream) (*mlv1.CheckModelFile, []byte, error) {
	var file *mlv1.CheckModelFile
	var content []byte
	for {
		msg, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, err
		}
		if err := rpc.Validate(msg); err != nil {
			return nil, nil, err
		}
		if (file == nil) != (msg.GetFile() != nil) {
			return nil, nil, fault.Invalid("file", "must be sent first, and once")
		}
		if file == nil {
			file = msg.GetFile()
		}
		if len(content)+len(msg.GetChunk()) > forest.MaxBytes {
			return nil, nil, fault.New(faultv1.Reason_REASON_TOO_LARGE, "the model is larger than %d bytes", forest.MaxBytes).
				With("max_bytes", float64(forest.MaxBytes))
		}
		content = append(content, msg.GetChunk()...)
	}
	if file == nil {
		return nil, nil, fault.Invalid("file", "must be sent first, and once")
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != file.GetSha256() {
		return nil, nil, fault.Invalid("sha256", "must be that of the bytes")
	}
	return file, content, nil
}

// ListModelMetrics says how the models in use on this replica do.
func (s *Server) ListModelMetrics(context.Context, *mlv1.ListModelMetricsRequest) (*mlv1.ListModelMetricsResponse, error) {
	return &mlv1.ListModelMetricsResponse{Models: s.registry.Figures()}, nil
}
