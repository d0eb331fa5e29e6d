//go:build e2e

package e2e

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/cloudoptim/cloudoptim/services/lab/stage"
)

// instance as AWS tells it, seen from outside CloudOptim.
type instance struct {
	ID, Type, Zone, State string
	Spot                  bool
	Optimization          string
}

func instances(t *testing.T, s *stage.Stage) map[string]instance {
	t.Helper()
	client := ec2.New(ec2.Options{
		Region: s.Lab.Region, BaseEndpoint: aws.String(s.Lab.AWSEndpoint),
		Credentials: credentials.NewStaticCredentialsProvider("lab", "lab", ""),
	})
	all := map[string]instance{}
	pages := ec2.NewDescribeInstancesPaginator(client, &ec2.DescribeInstancesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(context.WithoutCancel(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		for _, reservation := range page.Reservations {
			for i := range reservation.Instances {
				one := describe(&reservation.Instances[i])
				all[one.ID] = one
			}
		}
	}
	return all
}

func describe(in *types.Instance) instance {
	out := instance{
		ID: aws.ToString(in.InstanceId), Type: string(in.InstanceType), State: string(in.State.Name),
		Spot: in.InstanceLifecycle == types.InstanceLifecycleTypeSpot,
	}
	if in.Placement != nil {
		out.Zone = aws.ToString(in.Placement.AvailabilityZone)
	}
	for _, tag := range in.Tags {
		if aws.ToString(tag.Key) == "cloudoptim:optimization-id" {
			out.Optimization = aws.ToString(tag.Value)
		}
	}
	return out
}

// launchedBy are the instances of an optimization, in whatever state.
func launchedBy(all map[string]instance, optimization string) []instance {
	var out []instance
	for _, one := range all {
		if one.Optimization == optimization {
			out = append(out, one)
		}
	}
	return out
}
