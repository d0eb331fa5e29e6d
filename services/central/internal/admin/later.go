package admin

import (
	"google.golang.org/grpc"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	"github.com/cloudoptim/cloudoptim/pkg/fault"
)

// UploadModel is part of the contract and not built yet.
func (s *Server) UploadModel(grpc.ClientStreamingServer[adminv1.UploadModelRequest, adminv1.UploadModelResponse]) error {
	return fault.Unimplemented("uploading models")
}
