package moto

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

const (
	// RoleARN needs no IAM role: moto lets anyone assume any.
	RoleARN = "arn:aws:iam::123456789012:role/cloudoptim"
	// ExternalID is what a customer's trust policy would ask for.
	ExternalID = "lab-external-id"
)

// Account is what a customer has before CloudOptim comes.
type Account struct {
	Region           string
	Cluster          string
	Subnets          map[string]string // availability zone → subnet id
	SecurityGroupIDs []string
	LaunchTemplateID string
	QueueURL         string
}

// ClusterTag marks what belongs to an EKS cluster.
func ClusterTag(cluster string) (key, value string) {
	return "kubernetes.io/cluster/" + cluster, "owned"
}

// InstanceTags is that tag in the form that RunInstances and launch templates
// want.
func InstanceTags(cluster string) []ec2types.Tag {
	key, value := ClusterTag(cluster)
	return []ec2types.Tag{{Key: &key, Value: &value}}
}

// Furnish makes what a customer's account holds: a subnet in each zone (moto's
// default VPC comes with them), a security group, a launch template with an
// image, and the queue for interruptions. Zones beyond the first three are
// left out unless they are named.
func (s *Server) Furnish(ctx context.Context, region, cluster string, zones []string) (*Account, error) {
	client := s.EC2(region)
	a := &Account{Region: region, Cluster: cluster}
	vpc, err := a.findSubnets(ctx, client, zones)
	if err != nil {
		return nil, fmt.Errorf("finding subnets: %w", err)
	}
	group, err := client.CreateSecurityGroup(ctx, &ec2.CreateSecurityGroupInput{
		GroupName: aws.String("eks-nodes-" + cluster), Description: aws.String("nodes of " + cluster), VpcId: &vpc,
		TagSpecifications: []ec2types.TagSpecification{{
			ResourceType: ec2types.ResourceTypeSecurityGroup, Tags: InstanceTags(cluster),
		}},
	})
	if err != nil {
		return nil, fmt.Errorf("creating a security group: %w", err)
	}
	a.SecurityGroupIDs = []string{*group.GroupId}
	if err := a.createTemplate(ctx, client); err != nil {
		return nil, fmt.Errorf("creating a launch template: %w", err)
	}
	queue, err := s.SQS(region).CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("cloudoptim-interruptions-" + cluster)})
	if err != nil {
		return nil, fmt.Errorf("creating a queue: %w", err)
	}
	a.QueueURL = *queue.QueueUrl
	return a, nil
}

func (a *Account) findSubnets(ctx context.Context, client *ec2.Client, zones []string) (vpc string, err error) {
	out, err := client.DescribeSubnets(ctx, &ec2.DescribeSubnetsInput{})
	if err != nil {
		return "", err
	}
	slices.SortFunc(out.Subnets, func(x, y ec2types.Subnet) int {
		return strings.Compare(*x.AvailabilityZone, *y.AvailabilityZone)
	})
	a.Subnets = map[string]string{}
	for _, subnet := range out.Subnets {
		zone := *subnet.AvailabilityZone
		if _, have := a.Subnets[zone]; have {
			continue
		}
		if len(a.Subnets) < 3 || slices.Contains(zones, zone) {
			a.Subnets[zone] = *subnet.SubnetId
			vpc = *subnet.VpcId
		}
	}
	if vpc == "" {
		return "", errors.New("no subnets in the default VPC of " + a.Region)
	}
	return vpc, nil
}

func (a *Account) createTemplate(ctx context.Context, client *ec2.Client) error {
	image, err := client.RegisterImage(ctx, &ec2.RegisterImageInput{
		Name: aws.String("amazon-eks-node-al2023-x86_64"), Architecture: ec2types.ArchitectureValuesX8664,
		RootDeviceName: aws.String("/dev/xvda"), VirtualizationType: aws.String("hvm"),
	})
	if err != nil {
		return err
	}
	template, err := client.CreateLaunchTemplate(ctx, &ec2.CreateLaunchTemplateInput{
		LaunchTemplateName: aws.String("eks-nodes-" + a.Cluster),
		LaunchTemplateData: &ec2types.RequestLaunchTemplateData{
			ImageId: image.ImageId, InstanceType: ec2types.InstanceTypeM5Large, SecurityGroupIds: a.SecurityGroupIDs,
			TagSpecifications: []ec2types.LaunchTemplateTagSpecificationRequest{{
				ResourceType: ec2types.ResourceTypeInstance, Tags: InstanceTags(a.Cluster),
			}},
		},
	})
	if err != nil {
		return err
	}
	a.LaunchTemplateID = *template.LaunchTemplate.LaunchTemplateId
	return nil
}
