// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hardware that the stock MMIO driver waits for.
 *
 * processor_thermal_rapl is called by the thermal device's driver when that finds its PCI device. Here it is called
 * without one. The registers lie at 0, so that each one's address is its offset; divert.c sees to it that nobody goes
 * there.
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

struct proc_thermal_device;
int proc_thermal_rapl_add(struct pci_dev *device, struct proc_thermal_device *thermal);
void proc_thermal_rapl_remove(void);

static struct pci_dev *some_device;
static void *thermal_device;

static int __init start(void)
{
	int error;

	/* Only for its messages; the host bridge does. */
	some_device = pci_get_domain_bus_and_slot(0, 0, 0);
	/* All zero, whatever its layout: the base of the registers is then 0. */
	thermal_device = kzalloc(4096, GFP_KERNEL);
	if (!some_device || !thermal_device)
		error = -ENODEV;
	else
		error = proc_thermal_rapl_add(some_device, thermal_device);
	if (error) {
		kfree(thermal_device);
		pci_dev_put(some_device);
	}
	return error;
}

static void __exit stop(void)
{
	proc_thermal_rapl_remove();
	kfree(thermal_device);
	pci_dev_put(some_device);
}

module_init(start);
module_exit(stop);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("raplica: the hardware that the MMIO driver waits for");
