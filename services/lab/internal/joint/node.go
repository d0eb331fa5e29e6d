package joint

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	corev1 "k8s.io/api/core/v1"

	"github.com/cloudoptim/cloudoptim/services/lab/internal/eks"
)

// ec2Type is what EC2 itself says of an instance type.
type ec2Type struct {
	eks.Type
	arch string
}

// node is what the instance's kubelet would register.
func (j *Joint) node(ctx context.Context, i ec2types.Instance) (*corev1.Node, error) {
	t, err := j.typeOf(ctx, i.InstanceType)
	if err != nil {
		return nil, err
	}
	m := eks.Machine{
		Name:       aws.ToString(i.PrivateDnsName),
		InstanceID: aws.ToString(i.InstanceId),
		Type:       t.Type,
		Arch:       t.arch,
		Spot:       i.InstanceLifecycle == ec2types.InstanceLifecycleTypeSpot,
	}
	if i.Placement != nil {
		m.Zone = aws.ToString(i.Placement.AvailabilityZone)
	}
	if m.Name == "" {
		m.Name = m.InstanceID + "." + j.Account.Region + ".compute.internal"
	}
	return eks.Node(m), nil
}

func (j *Joint) typeOf(ctx context.Context, name ec2types.InstanceType) (ec2Type, error) {
	if t, ok := j.types[string(name)]; ok {
		return t, nil
	}
	out, err := j.EC2.DescribeInstanceTypes(ctx, &ec2.DescribeInstanceTypesInput{InstanceTypes: []ec2types.InstanceType{name}})
	if err != nil {
		return ec2Type{}, fmt.Errorf("describing type %s: %w", name, err)
	}
	if len(out.InstanceTypes) != 1 {
		return ec2Type{}, fmt.Errorf("EC2 knows no type %s", name)
	}
	info := out.InstanceTypes[0]
	if info.VCpuInfo == nil || info.MemoryInfo == nil || info.NetworkInfo == nil {
		return ec2Type{}, fmt.Errorf("EC2 does not say the size of %s", name)
	}
	t := ec2Type{arch: arch(info.ProcessorInfo), Type: eks.Type{
		Name:      string(name),
		VCPU:      int64(aws.ToInt32(info.VCpuInfo.DefaultVCpus)),
		MemoryMiB: aws.ToInt64(info.MemoryInfo.SizeInMiB),
		ENIs:      int64(aws.ToInt32(info.NetworkInfo.MaximumNetworkInterfaces)),
		IPsPerENI: int64(aws.ToInt32(info.NetworkInfo.Ipv4AddressesPerInterface)),
	}}
	if info.GpuInfo != nil {
		for _, gpu := range info.GpuInfo.Gpus {
			t.GPUs += int64(aws.ToInt32(gpu.Count))
		}
	}
	j.types[string(name)] = t
	return t, nil
}

// arch asks the type, not the instance: moto gives every instance its image's
// architecture.
func arch(p *ec2types.ProcessorInfo) string {
	if p != nil {
		for _, a := range p.SupportedArchitectures {
			if a == ec2types.ArchitectureTypeArm64 {
				return "arm64"
			}
		}
	}
	return "amd64"
}
