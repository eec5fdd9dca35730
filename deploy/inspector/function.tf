# Function Compute 3.0 by Terraform. The names are those of the resource alicloud_fcv3_function (1.228.0 and later).
terraform {
  required_providers {
    alicloud = {
      source  = "aliyun/alicloud"
      version = ">= 1.228.0"
    }
  }
}

provider "alicloud" {
  region = "cn-hangzhou"
}

resource "alicloud_fcv3_function" "inspector" {
  function_name        = "fc-hooks-inspector"
  description          = "Shows each request of the platform and the life of the instance"
  runtime              = "custom-container"
  handler              = "index.handler" # required, and ignored for an image
  cpu                  = 0.05
  memory_size          = 128
  disk_size            = 512
  timeout              = 60
  instance_concurrency = 1

  custom_container_config {
    image = "REGISTRY/NAMESPACE/fc-hooks:latest"
    port  = 9000
  }

  # The platform calls a hook that stands here, and no other. FC 3.0 has no pre-freeze.
  instance_lifecycle_config {
    initializer {
      handler = "initialize" # any text switches the hook on
      timeout = 10
    }
    pre_stop {
      handler = "pre-stop"
      timeout = 10
    }
  }
}
