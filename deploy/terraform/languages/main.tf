# The four services of examples/languages in one Cloud Run service, beside a Spansieve with the policies of that example.
#   terraform init
#   terraform apply -var project=PROJECT -var region=REGION -var spansieve_image=IMAGE -var 'images={node="IMAGE",go="IMAGE",java="IMAGE",rust="IMAGE"}' \
#     -var caller=user:me@example.com
# The module foundation/ comes first; docs/deploy-cloud-run.md says how to make the images.

terraform {
  required_version = ">= 1.5"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.33, < 9.0"
    }
  }
}

variable "project" {
  description = "The project."
  type        = string
}

variable "region" {
  description = "Where everything runs."
  type        = string
}

variable "spansieve_image" {
  description = "The image of Spansieve, with its digest."
  type        = string
}

variable "images" {
  description = "The images of the four services, with their digests."
  type        = object({ node = string, go = string, java = string, rust = string })
}

variable "caller" {
  description = "Who may call the first container from outside, such as user:me@example.com; empty: nobody."
  type        = string
  default     = ""
}

variable "network" {
  description = "The network for Direct VPC egress."
  type        = string
  default     = "spansieve"
}

variable "subnet" {
  description = "The subnet for Direct VPC egress."
  type        = string
  default     = "spansieve"
}

variable "gmp_sidecar_image" {
  description = "The image of the Managed Service for Prometheus sidecar; empty: no sidecar."
  type        = string
  default     = ""
}

module "config" {
  source = "../cloud-config"
  file   = "${path.module}/../../../examples/languages/spansieve.yaml"
}

module "spansieve" {
  source            = "../"
  project           = var.project
  region            = var.region
  image             = var.spansieve_image
  config_text       = module.config.text
  gmp_sidecar_image = var.gmp_sidecar_image
}

locals {
  # The containers of an instance reach each other at 127.0.0.1; each calls the next one.
  ports = { node = 8080, go = 8081, java = 8082, rust = 8083 }
  telemetry = {
    OTEL_EXPORTER_OTLP_ENDPOINT = "${module.spansieve.endpoint}:443"
    OTEL_EXPORTER_OTLP_PROTOCOL = "http/protobuf"
    OTEL_TRACES_SAMPLER         = "always_on"
    OTEL_METRICS_EXPORTER       = "none"
    OTEL_LOGS_EXPORTER          = "none"
    OTEL_PROPAGATORS            = "tracecontext,baggage"
    OTEL_BSP_SCHEDULE_DELAY     = "1000"
  }
}

resource "google_service_account" "languages" {
  project      = var.project
  account_id   = "languages"
  display_name = "Languages"
}

resource "google_cloud_run_v2_service" "languages" {
  project             = var.project
  name                = "languages"
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_ALL"
  deletion_protection = false

  template {
    service_account = google_service_account.languages.email

    scaling {
      max_instance_count = 3
    }

    vpc_access {
      egress = "ALL_TRAFFIC"
      network_interfaces {
        network    = var.network
        subnetwork = var.subnet
      }
    }

    dynamic "containers" {
      for_each = local.ports
      content {
        name  = containers.key
        image = var.images[containers.key]

        # The container with a port takes the requests; Cloud Run tells it the port.
        dynamic "ports" {
          for_each = containers.key == "node" ? [containers.value] : []
          content {
            container_port = ports.value
          }
        }

        resources {
          limits   = { cpu = "1", memory = "512Mi" }
          cpu_idle = false # spans are sent between requests, which needs the CPU then
        }

        dynamic "env" {
          for_each = merge(
            local.telemetry,
            { OTEL_SERVICE_NAME = containers.key, NEXT_URL = "http://127.0.0.1:${containers.value + 1}" },
            containers.key == "node" ? {} : { PORT = tostring(containers.value) },
          )
          content {
            name  = env.key
            value = env.value
          }
        }
      }
    }
  }
}

resource "google_cloud_run_v2_service_iam_member" "caller" {
  for_each = var.caller == "" ? {} : { user = var.caller }
  project  = var.project
  location = var.region
  name     = google_cloud_run_v2_service.languages.name
  role     = "roles/run.invoker"
  member   = each.value
}

output "uri" {
  description = "The address of the first container."
  value       = google_cloud_run_v2_service.languages.uri
}
