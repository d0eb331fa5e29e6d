package optimize

import (
	"context"
	"fmt"
	"maps"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	adminv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/admin/v1"
	mlv1 "github.com/cloudoptim/cloudoptim/gen/cloudoptim/ml/v1"

	"github.com/cloudoptim/cloudoptim/services/central/internal/usage"
)

// rightsize sizes the requests of containers by what they used. Its plan is advice: no agent sets requests.
const rightsize = "rightsize"

// mostUsage bounds what ml is told of usage, in bytes: with the state it must be one message.
const mostUsage = 64 << 20

// whyUnknown says why nothing is known of usage, for people.
var whyUnknown = map[string]string{
	"":               "its agent has not told yet; one of an older version never does",
	"known":          "its agent has just begun to tell",
	"no_metrics_api": "nothing serves the metrics API in the cluster; install metrics-server",
	"forbidden":      "the agent may not read metrics.k8s.io; apply the agent's newer rights",
	"unanswered":     "the cluster's metrics API does not answer",
}

// question is what ml is asked. Usage is read just before: it is too large to be kept with each
// question. A reason is returned when there is nothing to ask about.
func (r *run) question(ctx context.Context) (question *mlv1.DecisionRequest, outOfReach string, err error) {
	if r.story.Type != rightsize {
		return r.story.Request, "", nil
	}
	used, err := usage.Read(ctx, r.Store, r.story.Cluster, mostUsage)
	if err != nil {
		return nil, "", err
	}
	if len(used) == 0 {
		record, err := r.Store.ClusterRecord(ctx, r.story.Cluster, noCustomer)
		return nil, "it is not known what the containers of this cluster use: " + whyUnknown[record.GetUsage()], err
	}
	question = proto.CloneOf(r.story.Request)
	question.Usage = used
	return question, "", nil
}

// sizeTerms are the caller's. Nodes are left alone unless they are asked for: which of them go
// is bin_pack's to plan once the requests are smaller.
func sizeTerms(options *adminv1.OptimizationOptions) (requirements, constraints *structpb.Struct) {
	fields := maps.Clone(options.GetRequirements().GetFields())
	if fields == nil {
		fields = map[string]*structpb.Value{}
	}
	if fields["instances"] == nil {
		fields["instances"] = structpb.NewBoolValue(false)
	}
	return &structpb.Struct{Fields: fields}, options.GetConstraints()
}

// adviceOf a decision, for people.
func adviceOf(decision *mlv1.DecisionResponse) string {
	changes := 0
	for _, c := range decision.GetRequestChanges() {
		if c.GetVerdict() == "change" {
			changes++
		}
	}
	if changes == 0 {
		return fmt.Sprintf("nothing to do: of %d containers none has requests that are known to be far from what it uses", len(decision.GetRequestChanges()))
	}
	return fmt.Sprintf("recommended only, for %s: CloudOptim does not set requests; apply it in your manifests", many(int32(changes), "container"))
}
