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

resource "alicloud_fcv3_function" "counter" {
  function_name        = "counter"
  description          = "The server of examples/adapter/node behind the adapter"
  runtime              = "custom-container"
  handler              = "index.handler" # required, and ignored for an image
  cpu                  = 0.25
  memory_size          = 256
  disk_size            = 512
  timeout              = 60
  instance_concurrency = 1

  custom_container_config {
    image = "REGISTRY/NAMESPACE/counter:latest"
    port  = 9000
  }

  # One for each hook FC_HOOKS_… of the Dockerfile. They stand there, because a function cannot set variables whose
  # names begin with FC_. The platform calls a hook that stands here, and no other.
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
