# What other resources need of those that were made, read once for all. A reference to one instance of a resource takes up
# all of them, for each instance that refers: it reads each from the state, and Terraform before 1.13 looks for each through
# the whole plan. Written that way, plans grew with the cube of the list's length (docs/scale.md). The same way round for
# `depends_on`: through a local, the graph has an edge an instance; without, one for each pair of them.

locals {
  sidecar_image  = docker_image.infra["sidecar"].image_id
  app_images     = { for name, image in docker_image.app : name => image.image_id }
  key_volumes    = { for key, volume in docker_volume.keys : key => volume.name }
  secret_volumes = { for key, volume in docker_volume.app_secrets : key => volume.name }
  delivered      = { for key, keys in terraform_data.keys : key => keys.id }

  made_pods     = { for key, pod in docker_container.pod : key => { id = pod.id, name = pod.name } }
  made_apps     = { for key, app in docker_container.app : key => app.id }
  made_tasks    = { for name, task in docker_service.task : name => task.id }
  made_sidecars = { for key, sidecar in docker_container.sidecar : key => sidecar.id }
  addresses     = { for key, pod in docker_container.pod : key => try(pod.network_data[0].ip_address, "") } # stopped: none
}
