package joint

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// running asks for states only: moto takes a fifth of the time it needs to
// describe the same instances in full.
func (j *Joint) running(ctx context.Context) (map[string]bool, error) {
	pages := ec2.NewDescribeInstanceStatusPaginator(j.EC2, &ec2.DescribeInstanceStatusInput{
		Filters: []ec2types.Filter{{Name: aws.String("instance-state-name"), Values: []string{"running"}}},
	})
	all := map[string]bool{}
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.InstanceStatuses {
			all[aws.ToString(s.InstanceId)] = true
		}
	}
	return all, nil
}

// describe leaves out what EC2 does not know; asked for by InstanceIds, EC2
// would refuse to answer at all.
func (j *Joint) describe(ctx context.Context, ids []string) (map[string]ec2types.Instance, error) {
	all := map[string]ec2types.Instance{}
	if len(ids) == 0 {
		return all, nil
	}
	pages := ec2.NewDescribeInstancesPaginator(j.EC2, &ec2.DescribeInstancesInput{
		Filters: []ec2types.Filter{{Name: aws.String("instance-id"), Values: ids}},
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, r := range page.Reservations {
			for _, i := range r.Instances {
				all[aws.ToString(i.InstanceId)] = i
			}
		}
	}
	return all, nil
}
