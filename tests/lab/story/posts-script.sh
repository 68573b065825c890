#!/bin/bash

curl -kO http://SOMEHOST/coreos/cloud-config.yaml
sudo coreos-install -d /dev/sda -c cloud-config.yaml -b http://SOMEHOST/coreos
sudo reboot
