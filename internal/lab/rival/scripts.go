package rival

import "github.com/keelson/keelson/internal/lab"

// pacemakerBoot starts Corosync and Pacemaker on a host. The agent is laid over
// those of the machine, which the host sees read-only.
const pacemakerBoot = `set -eu
mkdir -p /run/corosync /run/crm /run/resource-agents /var/lib/corosync /var/log/corosync /var/log/pacemaker
for d in "" /cib /pengine /blackbox /cores; do
  mkdir -p /var/lib/pacemaker$d; chown hacluster:haclient /var/lib/pacemaker$d; chmod 750 /var/lib/pacemaker$d
done
chown hacluster:haclient /run/crm /var/log/pacemaker; chmod 750 /run/crm; chmod 770 /var/log/pacemaker
mount -t overlay -o lowerdir=` + home + `/ocf:/usr/lib/ocf/resource.d agents /usr/lib/ocf/resource.d
corosync -f </dev/null >>/var/log/corosync/console 2>&1 &
n=0
until corosync-cmapctl -g totem.version >/dev/null 2>&1; do
  n=$((n+1)); [ $n -lt 200 ] || { tail -5 /var/log/corosync/console >&2; exit 1; }
  sleep 0.05
done
PCMK_logfile=/var/log/pacemaker/pacemaker.log PCMK_logfacility=none \
  setsid pacemakerd -f </dev/null >>/var/log/pacemaker/console 2>&1 &
`

// agent is the least that an agent of the OCF can do for the lab's web program.
// Source: Open Cluster Framework Resource Agent API 1.0.
const agent = `#!/bin/sh
file=/run/lab-web.pid
alive() { read -r pid 2>/dev/null <$file && kill -0 "$pid" 2>/dev/null; }
case "$1" in
start)
  alive && exit 0
  ` + lab.RoleVariable + `=` + string(lab.RoleWeb) + ` setsid ` + lab.SelfPath + ` "$OCF_RESKEY_listen" </dev/null >/dev/null 2>&1 &
  echo $! >$file
  exit 0 ;;
stop)
  if alive; then kill "$pid"; while kill -0 "$pid" 2>/dev/null; do sleep 0.02; done; fi
  rm -f $file; exit 0 ;;
monitor) alive && exit 0; exit 7 ;;
validate-all) exit 0 ;;
meta-data) cat <<X
<?xml version="1.0"?>
<resource-agent name="web" version="1">
<version>1.0</version>
<longdesc lang="en">The web program of the lab</longdesc>
<shortdesc lang="en">The web program of the lab</shortdesc>
<parameters>
<parameter name="listen" required="1"><longdesc lang="en">Address and port</longdesc><shortdesc lang="en">Address and port</shortdesc><content type="string"/></parameter>
</parameters>
<actions>
<action name="start" timeout="20s"/><action name="stop" timeout="20s"/>
<action name="monitor" timeout="20s" interval="10s" depth="0"/>
<action name="meta-data" timeout="5s"/><action name="validate-all" timeout="5s"/>
</actions>
</resource-agent>
X
  exit 0 ;;
*) exit 3 ;;
esac
`

// keepalivedBoot starts the web program and keepalived on a host.
const keepalivedBoot = `set -eu
mkdir -p /run/keepalived
` + lab.RoleVariable + `=` + string(lab.RoleWeb) + ` setsid ` + lab.SelfPath + ` :` + port + ` </dev/null >/dev/null 2>&1 &
setsid keepalived -n -l -D -f ` + keepalivedConf + ` </dev/null >>` + keepalivedLog + ` 2>&1 &
`
