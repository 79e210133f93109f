import type { NewItem } from '../../features/items/model.ts'

interface SampleList {
  name: string
  description: string
  items: (NewItem & { bought?: true })[]
}

export const sampleLists: readonly [SampleList, SampleList, SampleList] = [
  {
    name: 'Weekly shop',
    description: 'Saturday, before ten',
    items: [
      { name: 'Whole milk', quantity: 2, unit: 'l', category: 'Dairy' },
      { name: 'Eggs', quantity: 10, unit: 'pcs', category: 'Dairy', note: 'Free range' },
      { name: 'Butter', quantity: 250, unit: 'g', category: 'Dairy', bought: true },
      { name: 'Sourdough bread', category: 'Bakery', bought: true },
      { name: 'Apples', quantity: 1.5, unit: 'kg', category: 'Fruit', note: 'Elstar, if they have any' },
      { name: 'Carrots', quantity: 1, unit: 'kg', category: 'Vegetables' },
      { name: 'Onions', quantity: 500, unit: 'g', category: 'Vegetables' },
      { name: 'Spaghetti', quantity: 2, unit: 'packs', category: 'Pantry' },
      { name: 'Tomato passata', quantity: 3, unit: 'jars', category: 'Pantry' },
      { name: 'Coffee beans', quantity: 500, unit: 'g', category: 'Pantry' },
    ],
  },
  {
    name: 'Birthday dinner for Noor',
    description: 'Eight people, two of them vegetarian',
    items: [
      { name: 'Aubergines', quantity: 4, category: 'Vegetables' },
      { name: 'Feta', quantity: 400, unit: 'g', category: 'Dairy' },
      { name: 'Chickpeas', quantity: 4, unit: 'tins', category: 'Pantry', bought: true },
      { name: 'Fresh mint', quantity: 2, unit: 'bunches', category: 'Herbs' },
      { name: 'Lemons', quantity: 6, category: 'Fruit' },
      { name: 'Dark chocolate', quantity: 300, unit: 'g', category: 'Baking', note: 'At least 70 %' },
      { name: 'Candles', quantity: 1, unit: 'pack', category: 'Household' },
    ],
  },
  {
    name: 'Household',
    description: 'Whenever someone passes the drugstore',
    items: [
      { name: 'Dish soap', category: 'Cleaning' },
      { name: 'Dishwasher tablets', quantity: 1, unit: 'pack', category: 'Cleaning' },
      { name: 'Toothpaste', quantity: 2, category: 'Bathroom', bought: true },
      { name: 'Light bulbs E27', quantity: 3, category: 'Household', note: 'Warm white' },
      { name: 'Bin liners 35 l', quantity: 2, unit: 'rolls', category: 'Cleaning' },
    ],
  },
]
