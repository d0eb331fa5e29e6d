module github.com/cloudoptim/cloudoptim/services/ml/internal/market/catalogue/generate

go 1.26.8

require (
	github.com/LeanerCloud/ec2-instances-info v0.0.0-00010101000000-000000000000
	github.com/aws/karpenter-provider-aws v1.14.1
)

replace github.com/LeanerCloud/ec2-instances-info => github.com/cristim/ec2-instances-info v0.0.0-20250528091325-32acf84f42eb
